package contracts

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// Reads every message below $FIXTURES, and writes it again: nothing may be different.
func TestRoundTrip(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(os.Getenv("FIXTURES"), "*", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no messages below %q: %v", os.Getenv("FIXTURES"), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		envelope, err := UnmarshalEnvelope(text)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		make, known := New[envelope.Type]
		if !known {
			t.Fatalf("%s: no type for %s", file, envelope.Type)
		}
		data, err := json.Marshal(envelope.Data)
		if err != nil {
			t.Fatal(err)
		}
		value := make()
		if err := json.Unmarshal(data, value); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		envelope.Data = value
		written, err := envelope.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(parsed(t, written), parsed(t, text)) {
			t.Errorf("%s: read as something else: %s", file, written)
		}
	}
	t.Logf("%d messages", len(files))
}

// What is wrong must not pass as right.
func TestWrongTypesAreRefused(t *testing.T) {
	if _, err := UnmarshalTaskCompleted([]byte(`{"task_id": 7}`)); err == nil {
		t.Error("a number passes as an id")
	}
}

func parsed(t *testing.T, text []byte) any {
	t.Helper()
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		t.Fatal(err)
	}
	return value
}

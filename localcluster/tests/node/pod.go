// What runs in the pods of the test: answers what it was asked to do in its pod.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
)

func main() {
	http.HandleFunc("/hello", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "hello from "+os.Getenv("HOSTNAME"))
	})
	http.HandleFunc("/resolve", func(w http.ResponseWriter, r *http.Request) {
		addresses, err := net.LookupHost(r.URL.Query().Get("name"))
		answer(w, strings.Join(addresses, ","), err)
	})
	http.HandleFunc("/get", func(w http.ResponseWriter, r *http.Request) {
		response, err := http.Get(r.URL.Query().Get("url"))
		if err != nil {
			answer(w, "", err)
			return
		}
		response.Body.Close()
		answer(w, response.Status, nil)
	})
	http.HandleFunc("/write", func(w http.ResponseWriter, r *http.Request) {
		text := r.URL.Query().Get("text")
		answer(w, "written", os.WriteFile("/data/file", []byte(text), 0o600))
	})
	http.HandleFunc("/read", func(w http.ResponseWriter, _ *http.Request) {
		content, err := os.ReadFile("/data/file")
		answer(w, string(content), err)
	})
	fmt.Println("listening")
	fmt.Fprintln(os.Stderr, http.ListenAndServe(":8080", nil))
	os.Exit(1)
}

func answer(w http.ResponseWriter, text string, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	fmt.Fprint(w, text)
}

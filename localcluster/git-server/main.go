// Serves Git repositories over HTTP for tests: anyone may read and push. REPOSITORIES names those that are made, empty, at
// the start; ROOT is where they lie, ADDRESS where it listens.
package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

func main() {
	root := setting("ROOT", "/srv/git")
	for _, name := range strings.Fields(os.Getenv("REPOSITORIES")) {
		if err := create(filepath.Join(root, name)); err != nil {
			log.Fatalf("repository %s: %v", name, err)
		}
	}
	address := setting("ADDRESS", ":8080")
	log.Printf("serving %s on %s", root, address)
	log.Fatal(http.ListenAndServe(address, &cgi.Handler{
		Path: "/usr/lib/git-core/git-http-backend",
		Env: []string{
			"GIT_PROJECT_ROOT=" + root,
			"GIT_HTTP_EXPORT_ALL=1",
			// The handler's own PATH may lack git, which the backend starts.
			"PATH=/usr/bin:/bin",
		},
	}))
}

func setting(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

// create makes a bare repository that takes pushes, unless there is one.
func create(path string) error {
	if _, err := os.Stat(filepath.Join(path, "HEAD")); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, arguments := range [][]string{
		{"init", "--quiet", "--bare", "--initial-branch=main", path},
		{"-C", path, "config", "http.receivepack", "true"},
	} {
		if output, err := exec.Command("git", arguments...).CombinedOutput(); err != nil {
			return fmt.Errorf("git %s: %w: %s", strings.Join(arguments, " "), err, output)
		}
	}
	return nil
}

// Makes or removes the directory of one volume, as local-path-provisioner asks of its helper pod. It stands in for a
// shell and coreutils in that pod's image.
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	path := flag.String("p", "", "the volume's directory")
	action := flag.String("a", "", "create or delete")
	flag.String("s", "", "size in bytes; a directory has no limit")
	flag.String("m", "", "volume mode; always Filesystem")
	flag.Parse()
	if err := run(*action, *path); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(action, path string) error {
	switch action {
	case "create":
		if err := os.MkdirAll(path, 0o777); err != nil {
			return err
		}
		// Any user of any pod may write; the mode above is subject to the umask.
		return os.Chmod(path, 0o777)
	case "delete":
		return os.RemoveAll(path)
	default:
		return fmt.Errorf("unknown action %q of -a: want create or delete", action)
	}
}

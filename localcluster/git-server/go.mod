module todo-operator.dev/localcluster/git-server

go 1.26.0

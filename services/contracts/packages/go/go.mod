module todo-operator.dev/contracts

go 1.22

module tracegen

go 1.21

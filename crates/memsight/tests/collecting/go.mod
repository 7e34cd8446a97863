module collecting

go 1.21

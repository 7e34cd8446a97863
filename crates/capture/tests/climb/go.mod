module climb

go 1.21

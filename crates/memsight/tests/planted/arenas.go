//go:build goexperiment.arenas

package main

import "arena"

var inArena []*item

func init() {
	plantMore = append(plantMore, func() {
		plant("main.inArena", "", func() {
			region := arena.NewArena()
			inArena = arena.MakeSlice[*item](region, 100, 100)
			for i := range inArena {
				inArena[i] = arena.New[item](region)
				inArena[i].name = newItem(i).name
			}
		})
	})
}

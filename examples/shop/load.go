package main

import (
	"context"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"time"
)

// load plays the customers: mostly pages, some carts, popular products more often.
func load(ctx context.Context, base string, rate int) {
	client := &http.Client{Timeout: 5 * time.Second}
	popular := rand.NewZipf(rand.New(rand.NewSource(1)), 1.1, 8, 20000)
	tick := time.NewTicker(time.Second / time.Duration(max(rate, 1)))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		path := "/product"
		if rand.Intn(8) == 0 {
			path = "/cart/add"
		}
		url := fmt.Sprintf("%s%s?id=%d", base, path, popular.Uint64())
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return
		}
		request.Header.Set("X-User", fmt.Sprint("user-", rand.Intn(500)))
		response, err := client.Do(request)
		if err != nil {
			continue
		}
		io.Copy(io.Discard, response.Body)
		response.Body.Close()
	}
}

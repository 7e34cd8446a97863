// Shop is a small web shop with its own load, the subject of `make demo`.
//
// It serves product pages from a bounded result cache, keeps carts that expire and
// sessions that end. With -leak (the default) the session registry also keeps an
// audit trail of every request that nobody reads: the planted leak. With
// -leak=false the program is the healthy twin, alike in everything else.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	_ "net/http/pprof" // as most services have it; memsight does not use it
	"os"
	"os/signal"
	"time"

	"shop/cache"
	"shop/cart"
	"shop/session"
)

type shop struct {
	results  *cache.Results
	carts    *cart.Store
	sessions *session.Registry
}

func (s *shop) product(w http.ResponseWriter, r *http.Request) {
	id := r.URL.Query().Get("id")
	user := r.Header.Get("X-User")
	s.sessions.Track(user, r.URL.Path, r.UserAgent())
	page := s.results.Get(id, func() []byte { return render(id) })
	w.Header().Set("Content-Type", "text/html")
	w.Write(page)
}

func (s *shop) add(w http.ResponseWriter, r *http.Request) {
	user := r.Header.Get("X-User")
	s.sessions.Track(user, r.URL.Path, r.UserAgent())
	n := s.carts.Add(user, r.URL.Query().Get("id"))
	fmt.Fprintf(w, "%d items\n", n)
}

// render makes a page, and the garbage that making pages makes.
func render(id string) []byte {
	var page []byte
	for row := 0; row < 40; row++ {
		page = fmt.Appendf(page, "<tr><td>product %s</td><td>row %d</td></tr>\n", id, row)
	}
	return page
}

func main() {
	leak := flag.Bool("leak", true, "keep an audit trail that nobody reads")
	rate := flag.Int("rate", 400, "requests a second of the built-in load")
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on")
	flag.Parse()

	s := &shop{
		results:  cache.New(3000),
		carts:    cart.New(20 * time.Second),
		sessions: session.New(*leak),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/product", s.product)
	mux.HandleFunc("/cart/add", s.add)
	mux.Handle("/debug/", http.DefaultServeMux)
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	go s.carts.Expire(ctx)
	go load(ctx, "http://"+listener.Addr().String(), *rate)
	fmt.Println("shop on", listener.Addr())
	go func() { log.Fatal(http.Serve(listener, mux)) }()
	<-ctx.Done()
}

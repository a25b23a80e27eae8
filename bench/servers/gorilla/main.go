// The rival gorilla/websocket: echo at /wsecho; a hub with a queue and a write pump per client at
// /broadcast (each message a frame, prepared once for all) and at /ws (with the merge of the chat
// example: what waits leaves as one text message, joined by newlines).
// Arguments: PORT [CERTFILE KEYFILE]
package main

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"

	"github.com/gorilla/websocket"
)

const (
	mergeQueue = 256  // as in the chat example: a full queue ends the client
	plainQueue = 1024 // more than any cell has outstanding
)

var upgrader = websocket.Upgrader{EnableCompression: true}

func echo(w http.ResponseWriter, r *http.Request) {
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer conn.Close()
	for {
		kind, data, err := conn.ReadMessage()
		if err != nil || conn.WriteMessage(kind, data) != nil {
			return
		}
	}
}

type message struct {
	kind int
	data []byte
	once *websocket.PreparedMessage
}

type client struct {
	conn  *websocket.Conn
	queue chan *message
}

type hub struct {
	enter, leave chan *client
	publish      chan *message
	merge        bool
}

func newHub(merge bool) *hub {
	h := &hub{make(chan *client), make(chan *client), make(chan *message), merge}
	go h.run()
	return h
}

func (h *hub) run() {
	clients := map[*client]bool{}
	drop := func(c *client) {
		if clients[c] {
			delete(clients, c)
			close(c.queue)
		}
	}
	for {
		select {
		case c := <-h.enter:
			clients[c] = true
		case c := <-h.leave:
			drop(c)
		case m := <-h.publish:
			for c := range clients {
				select {
				case c.queue <- m:
				default:
					drop(c)
				}
			}
		}
	}
}

func (h *hub) serve(w http.ResponseWriter, r *http.Request) {
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	size := plainQueue
	if h.merge {
		size = mergeQueue
	}
	c := &client{conn, make(chan *message, size)}
	h.enter <- c
	go h.writePump(c)
	h.readPump(c)
}

func (h *hub) readPump(c *client) {
	defer func() { h.leave <- c; c.conn.Close() }()
	for {
		kind, data, err := c.conn.ReadMessage()
		if err != nil {
			return
		}
		m := &message{kind: kind, data: data}
		if h.merge {
			m.data = bytes.TrimSpace(bytes.ReplaceAll(data, []byte{'\n'}, []byte{' '}))
		} else if m.once, err = websocket.NewPreparedMessage(kind, data); err != nil {
			return
		}
		h.publish <- m
	}
}

func (h *hub) writePump(c *client) {
	defer c.conn.Close()
	for m := range c.queue {
		var err error
		if h.merge {
			err = writeMerged(c, m)
		} else {
			err = c.conn.WritePreparedMessage(m.once)
		}
		if err != nil {
			return
		}
	}
	c.conn.WriteMessage(websocket.CloseMessage, nil)
}

func writeMerged(c *client, first *message) error {
	w, err := c.conn.NextWriter(websocket.TextMessage)
	if err != nil {
		return err
	}
	w.Write(first.data)
	for n := len(c.queue); n > 0; n-- {
		w.Write([]byte{'\n'})
		w.Write((<-c.queue).data)
	}
	return w.Close()
}

func main() {
	if len(os.Args) != 2 && len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: gorilla PORT [CERTFILE KEYFILE]")
		os.Exit(2)
	}
	http.HandleFunc("/wsecho", echo)
	http.HandleFunc("/broadcast", newHub(false).serve)
	http.HandleFunc("/ws", newHub(true).serve)
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	fmt.Println("ready", os.Args[1])
	if len(os.Args) == 4 {
		err = http.ServeTLS(listener, nil, os.Args[2], os.Args[3])
	} else {
		err = http.Serve(listener, nil)
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

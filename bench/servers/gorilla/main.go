// The rival gorilla/websocket: echo at /wsecho; a hub with a queue and a write pump per client at
// /broadcast (each message a frame, prepared once for all), at /chat (as the chat example that comes
// with it: what waits leaves as one text message, joined by newlines) and at /ws (the same merge
// without what the example does beside it: no deadlines, no pings, no limit, buffers of 4 KiB).
// Arguments: PORT [CERTFILE KEYFILE]
package main

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/gorilla/websocket"
)

const (
	mergeQueue = 256  // as in the chat example: a full queue ends the client
	plainQueue = 1024 // more than any cell has outstanding

	// The chat example's.
	chatBuffer = 1024
	chatLimit  = 512
	writeWait  = 10 * time.Second
	pongWait   = 60 * time.Second
	pingPeriod = pongWait * 9 / 10
)

// What a hub does with what waits for a client.
type manner int

const (
	plain manner = iota
	merge
	chat
)

var (
	upgrader     = websocket.Upgrader{EnableCompression: true}
	chatUpgrader = websocket.Upgrader{ReadBufferSize: chatBuffer, WriteBufferSize: chatBuffer}
)

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
	manner       manner
}

func newHub(manner manner) *hub {
	h := &hub{make(chan *client), make(chan *client), make(chan *message), manner}
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
	up, size := &upgrader, plainQueue
	if h.manner != plain {
		size = mergeQueue
	}
	if h.manner == chat {
		up = &chatUpgrader
	}
	conn, err := up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	c := &client{conn, make(chan *message, size)}
	h.enter <- c
	if h.manner == chat {
		conn.SetReadLimit(chatLimit)
		alive := func(string) error { return conn.SetReadDeadline(time.Now().Add(pongWait)) }
		conn.SetPongHandler(alive)
		alive("")
		go chatPump(c)
	} else {
		go h.writePump(c)
	}
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
		if h.manner != plain {
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
		if h.manner == merge {
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

func chatPump(c *client) {
	ticker := time.NewTicker(pingPeriod)
	defer func() { ticker.Stop(); c.conn.Close() }()
	for {
		var err error
		select {
		case m, ok := <-c.queue:
			c.conn.SetWriteDeadline(time.Now().Add(writeWait))
			if !ok {
				c.conn.WriteMessage(websocket.CloseMessage, nil)
				return
			}
			err = writeMerged(c, m)
		case <-ticker.C:
			c.conn.SetWriteDeadline(time.Now().Add(writeWait))
			err = c.conn.WriteMessage(websocket.PingMessage, nil)
		}
		if err != nil {
			return
		}
	}
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
	http.HandleFunc("/broadcast", newHub(plain).serve)
	http.HandleFunc("/chat", newHub(chat).serve)
	http.HandleFunc("/ws", newHub(merge).serve)
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

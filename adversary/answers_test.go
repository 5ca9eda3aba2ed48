package adversary

import "strings"

// scriptedAnswers are what the server behind API answers says, by path.
func scriptedAnswers() map[string]string {
	return map[string]string{
		"/injected":    "HTTP/1.1 200 OK\r\nX-A: 1\n 2\r\nContent-Length: 2\r\n\r\n{}",
		"/barelf":      "HTTP/1.1 200 OK\nContent-Length: 2\n\n{}",
		"/both":        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
		"/early":       strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 100) + "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
		"/upgraded":    "HTTP/1.1 200 OK\r\nUpgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 2\r\n\r\n{}",
		"/redirect":    "HTTP/1.1 302 Found\r\nLocation: http://evil.test/\r\nContent-Length: 0\r\n\r\n",
		"/busy":        "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
		"/fail":        "HTTP/1.1 500 Oops\r\nContent-Length: 2\r\nServer: shop/1.0\r\n\r\n{}",
		"/unasked":     "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
		"/manyfields":  "HTTP/1.1 200 OK\r\n" + strings.Repeat("X-A: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n", 200_000) + "Content-Length: 2\r\n\r\n{}",
		"/switch":      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
		"/cut":         "HTTP/1.1 200 OK\r\nContent-Length: 200\r\nConnection: close\r\n\r\nhalf",
		"/product":     "HTTP/1.1 200 OK\r\nServer: shop/1.0\r\nX-Powered-By: PHP/5\r\nContent-Length: 2\r\n\r\n{}",
		"/nothing":     "\r\n",
		"/trailer":     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-A\r\n\r\n2\r\n{}\r\n0\r\nX-A: 1\r\n\r\n",
		"/corsopen":    "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: 2\r\n\r\n{}",
		"/negative":    "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n{}",
		"/twolengths":  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
		"/notmodified": "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n",
	}
}

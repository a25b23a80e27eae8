"""What a client may send and what it may not: one row for each class of the advisories.

A new advisory is a new row; the tests feed every row whole, byte by byte, and with more behind it.
"""

from __future__ import annotations

from fastws.config import Limits

LIMITS = Limits()

UPGRADE_FIELDS = (
    b"Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)


def get(*fields: bytes, target: bytes = b"/", version: bytes = b"HTTP/1.1") -> bytes:
    return b"\r\n".join((b"GET " + target + b" " + version, b"Host: x", *fields)) + b"\r\n\r\n"


def post(*fields: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join((b"POST / HTTP/1.1", b"Host: x", *fields)) + b"\r\n\r\n" + body


def chunked(body: bytes) -> bytes:
    return post(b"Transfer-Encoding: chunked", body=body)


#: Bytes, and the requests in them: method, target, body.
ACCEPTED: dict[str, tuple[bytes, list[tuple[str, str, bytes]]]] = {
    "GET": (get(), [("GET", "/", b"")]),
    "target": (get(target=b"/a/b%20c?d=e%20f&g"), [("GET", "/a/b%20c?d=e%20f&g", b"")]),
    "absolute target": (get(target=b"http://X/a"), [("GET", "http://X/a", b"")]),
    "URL of another host": (get(target=b"http://y:80/a"), [("GET", "http://y:80/a", b"")]),
    "URL of another scheme of ours": (get(target=b"wss://y"), [("GET", "wss://y", b"")]),
    "asterisk": (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", [("OPTIONS", "*", b"")]),
    "unusual method": (b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n", [("BREW", "/", b"")]),
    "empty line before": (b"\r\n" + get(), [("GET", "/", b"")]),
    "empty Host": (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", [("GET", "/", b"")]),
    "IPv6 Host": (b"GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", [("GET", "/", b"")]),
    "odd values": (get(b"A:", b"B:   ", b"C:\t\xe4\xff  ~\t", b"Host-: 1"), [("GET", "/", b"")]),
    "two requests": (get() + get(target=b"/2"), [("GET", "/", b""), ("GET", "/2", b"")]),
    "another upgrade": (get(b"Upgrade: h2c"), [("GET", "/", b"")]),
    "other upgrade, body": (post(b"Upgrade: h2c", b"Content-Length: 1", body=b"x"), [("POST", "/", b"x")]),
    "length": (post(b"Content-Length: 5", body=b"hello"), [("POST", "/", b"hello")]),
    "length 0": (post(b"Content-Length: 0") + get(), [("POST", "/", b""), ("GET", "/", b"")]),
    "length, then next": (
        post(b"content-length:\t2 ", body=b"hi") + get(),
        [("POST", "/", b"hi"), ("GET", "/", b"")],
    ),
    "GET with a body": (get(b"Content-Length: 3") + b"abc", [("GET", "/", b"abc")]),
    "chunked": (chunked(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), [("POST", "/", b"abcde")]),
    "chunked, empty": (chunked(b"0\r\n\r\n") + get(), [("POST", "/", b""), ("GET", "/", b"")]),
    "Chunked, extensions": (
        post(b"TRANSFER-ENCODING: Chunked", body=b'0A ;a="b"\r\n0123456789\r\n00;x\r\n\r\n'),
        [("POST", "/", b"0123456789")],
    ),
    "chunked, trailers": (
        chunked(b"1\r\nx\r\n0\r\nContent-Length: 5\r\nHost: evil\r\n\r\n") + get(),
        [("POST", "/", b"x"), ("GET", "/", b"")],
    ),
    "chunk size of 16 digits": (chunked(b"0000000000000001\r\nx\r\n0\r\n\r\n"), [("POST", "/", b"x")]),
    "longest extension": (chunked(b"1;" + b"e" * 256 + b"\r\nx\r\n0\r\n\r\n"), [("POST", "/", b"x")]),
}

TE_AND_CL = (b"Transfer-Encoding: chunked", b"Content-Length: 5")
LENGTHS = [*b"+5 -1 1_0 0x5 5,5 5;6 010 00 \xd9\xa5".split(), b"", b"5, 6", b"5 5", b"1" * 20]
CODINGS = [
    *b'chunked, ,chunked chunked;q=1 \x01chunked chun\xc3\xa9 "chunked"'.split(),
    b"",
    b"chunked chunked",
]
UNKNOWN_CODINGS = b"identity xchunked chunkedx gzip gzip,chunked chunked,identity chunked,chunked".split()
CONTROLS = [0x00, 0x01, 0x08, 0x0B, 0x0C, 0x0D, 0x0A, 0x1B, 0x1C, 0x1D, 0x1E, 0x1F, 0x7F]
HOSTS = [*rb"x/y u@x x:port x:123456 [::1 x\y x?y <x> [] `x".split(), b"a b", b"a,b c", b"h\xe9"]

#: Bytes, and the status of the answer.
REFUSED: dict[str, tuple[bytes, int]] = {
    # H1: two readers could differ about the framing
    "TE and CL": (post(*TE_AND_CL, body=b"0\r\n\r\n"), 400),
    "CL and TE": (post(*reversed(TE_AND_CL), body=b"0\r\n\r\n"), 400),
    "TE and CL, other cases": (post(b"tRANSFER-eNCODING: chunked", b"CONTENT-LENGTH: 0"), 400),
    "two TE": (post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), 400),
    "TE, TE identity": (post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"), 400),
    "TE in HTTP/1.0": (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "TE over two lines": (post(b"Transfer-Encoding:\r\n chunked", body=b"0\r\n\r\n"), 400),
    "TE with space before the colon": (post(b"Transfer-Encoding : chunked"), 400),
    **{f"TE {value!r}": (post(b"Transfer-Encoding: " + value), 400) for value in CODINGS},
    **{f"TE {value!r}": (post(b"Transfer-Encoding: " + value), 501) for value in UNKNOWN_CODINGS},
    # H2: numbers
    **{f"CL {value!r}": (post(b"Content-Length: " + value), 400) for value in LENGTHS},
    "CL twice": (post(b"Content-Length: 5", b"Content-Length: 5", body=b"hello"), 400),
    "CL twice, different": (post(b"Content-Length: 5", b"Content-Length: 6", body=b"hello"), 400),
    "CL too large": (post(b"Content-Length: %d" % (LIMITS.max_body_size + 1)), 413),
    "CL of 19 digits": (post(b"Content-Length: " + b"9" * 19), 413),
    # H4: a request to upgrade has no body
    "upgrade with CL": (b"GET / HTTP/1.1\r\n" + UPGRADE_FIELDS + b"Content-Length: 3\r\n\r\nabc", 400),
    "upgrade with TE": (b"GET / HTTP/1.1\r\n" + UPGRADE_FIELDS + b"Transfer-Encoding: chunked\r\n\r\n", 400),
    "upgrade in a list with CL": (post(b"Upgrade: h2c, WebSocket", b"Content-Length: 3", body=b"abc"), 400),
    # H5: octets
    **{f"octet {octet:#04x} in a value": (get(b"A: b" + bytes([octet]) + b"c"), 400) for octet in CONTROLS},
    **{f"octet {octet:#04x} in a name": (get(b"A" + bytes([octet]) + b": c"), 400) for octet in CONTROLS},
    **{f"octet {octet:#04x} in a target": (get(target=b"/" + bytes([octet])), 400) for octet in CONTROLS},
    "octet 0x85 in a name": (get(b"A\x85: c"), 400),
    "octet 0xe9 in a target": (get(target=b"/\xe9"), 400),
    "LF only": (get().replace(b"\r\n", b"\n"), 400),
    "one bare LF": (get(b"A: b\nC: d"), 400),
    "one bare CR": (get(b"A: b\rC: d"), 400),
    "CR CR LF": (get(b"A: b\r"), 400),
    "folded line": (get(b"A: b", b" c"), 400),
    "folded line, tab": (get(b"A: b", b"\tc"), 400),
    "folded first line": (b"GET / HTTP/1.1\r\n Host: x\r\n\r\n", 400),
    "space before the colon": (get(b"A : b"), 400),
    "tab before the colon": (get(b"A\t: b"), 400),
    "empty name": (get(b": b"), 400),
    "no colon": (get(b"A"), 400),
    "brackets in a name": (get(b"X[]: b"), 400),
    "no Host": (b"GET / HTTP/1.1\r\nA: b\r\n\r\n", 400),
    "two Hosts": (get(b"Host: y"), 400),
    "the same Host twice": (get(b"HOST: x"), 400),
    "two Hosts in HTTP/1.0": (get(b"Host: y", version=b"HTTP/1.0"), 400),
    **{f"Host {value!r}": (b"GET / HTTP/1.1\r\nHost: " + value + b"\r\n\r\n", 400) for value in HOSTS},
    # H5: the request line
    "HTTP/9.9": (get(version=b"HTTP/9.9"), 505),
    "HTTP/2.0": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "HTTP/1.2": (get(version=b"HTTP/1.2"), 505),
    "HTTP/0.9": (get(version=b"HTTP/0.9"), 505),
    "HTTP/11.1": (get(version=b"HTTP/11.1"), 505),
    "HTTP/2": (get(version=b"HTTP/2"), 505),
    "http/1.1": (get(version=b"http/1.1"), 400),
    "HTTP/1.": (get(version=b"HTTP/1."), 400),
    "HTTP/1.1x": (get(version=b"HTTP/1.1x"), 400),
    "no version": (b"GET /\r\nHost: x\r\n\r\n", 400),
    "tabs": (get().replace(b" / ", b"\t/\t"), 400),
    "two spaces": (get().replace(b" / ", b"  / "), 400),
    "space behind": (get(version=b"HTTP/1.1 "), 400),
    "space before": (b" " + get(), 400),
    "two empty lines before": (b"\r\n\r\n" + get(), 400),
    "a bad method": (b"G(T / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "TLS": (bytes.fromhex("16030100c8010000c40303"), 400),
    # targets
    "no slash": (get(target=b"a"), 400),
    "asterisk for GET": (get(target=b"*"), 400),
    "fragment": (get(target=b"/a#b"), 400),
    "URL without a host": (get(target=b"http:///"), 400),
    "URL without a host, with a port": (get(target=b"http://:80/"), 400),
    "URL with a user": (get(target=b"http://u@x/"), 400),
    "URL with a bad host": (get(target=b"http://x{y}/"), 400),
    "URL and two Hosts": (get(b"Host: y", target=b"http://x/"), 400),
    "URL and a bad Host": (b"GET http://x/ HTTP/1.1\r\nHost: x y\r\n\r\n", 400),
    "URL and no Host": (b"GET http://x/ HTTP/1.1\r\n\r\n", 400),
    "URL of another host behind a backslash": (get(target=b"http:\\\\x/"), 400),
    "URL of another scheme": (get(target=b"ftp://x/"), 400),
    "CONNECT": (b"CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n", 501),
    "CONNECT of a path": (b"CONNECT / HTTP/1.1\r\nHost: x\r\n\r\n", 501),
    "CONNECT of a URL": (b"CONNECT http://x/ HTTP/1.1\r\nHost: x\r\n\r\n", 501),
    "NUL, encoded": (get(target=b"/a%00b"), 400),
    "not UTF-8": (get(target=b"/%ff"), 400),
    "an overlong slash": (get(target=b"/%c0%af"), 400),
    "half an escape": (get(target=b"/%4"), 400),
    "no escape": (get(target=b"/%zz"), 400),
    # other
    "unknown expectation": (post(b"Expect: 200-ok", b"Content-Length: 1"), 417),
    "101 fields": (get(*[b"a: b"] * 100), 431),
    "a long field": (get(b"A: " + b"b" * 8190), 431),
    "a long target": (get(target=b"/" + b"a" * 8192), 414),
    "a long target among much": (get(b"A: " + b"b" * 9000, target=b"/" + b"a" * 8190), 414),
    "a long method": (b"A" * 8193, 414),
    "a large head": (get(*[b"A: " + b"b" * 4000] * 5), 431),
    "a large head without an end": (get(*[b"A: " + b"b" * 4000] * 5)[:-2], 431),
    "a large head that is bad before": (get(b"A: \0", *[b"A: " + b"b" * 4000] * 5), 400),
    # H3: chunks
    "no size": (chunked(b"\r\nabc\r\n"), 400),
    "size +1": (chunked(b"+1\r\nx\r\n0\r\n\r\n"), 400),
    "size -1": (chunked(b"-1\r\nx\r\n0\r\n\r\n"), 400),
    "size 0x1": (chunked(b"0x1\r\nx\r\n0\r\n\r\n"), 400),
    "size 1_0": (chunked(b"1_0\r\n0123456789abcdef\r\n0\r\n\r\n"), 400),
    "size of 17 digits": (chunked(b"00000000000000001\r\nx\r\n0\r\n\r\n"), 400),
    "size of 20 digits": (chunked(b"f" * 20 + b"\r\n"), 400),
    "space before the size": (chunked(b" 1\r\nx\r\n0\r\n\r\n"), 400),
    "space behind the size": (chunked(b"1 \r\nx\r\n0\r\n\r\n"), 400),
    "LF behind the size": (chunked(b"1\nx\r\n0\r\n\r\n"), 400),
    "CR in an extension": (chunked(b"1;a\rb\r\nx\r\n0\r\n\r\n"), 400),
    "LF in an extension": (chunked(b"1;a\nb\r\nx\r\n0\r\n\r\n"), 400),
    "NUL in an extension": (chunked(b"1;a\0b\r\nx\r\n0\r\n\r\n"), 400),
    "a long extension": (chunked(b"1;" + b"e" * 257 + b"\r\nx\r\n0\r\n\r\n"), 400),
    "an endless extension": (chunked(b"1;" + b"e" * 5000), 400),
    "LF behind a chunk": (chunked(b"1\r\nx\n0\r\n\r\n"), 400),
    "CR behind a chunk": (chunked(b"1\r\nx\r0\r\n\r\n"), 400),
    "more than the size": (chunked(b"1\r\nxy\r\n0\r\n\r\n"), 400),
    "a chunk too large": (chunked(b"%x\r\n" % (LIMITS.max_body_size + 1)), 413),
    "a chunk of 16 digits": (chunked(b"f" * 16 + b"\r\n"), 413),
    "a trailer without a colon": (chunked(b"0\r\nA\r\n\r\n"), 400),
    "a trailer with a control": (chunked(b"0\r\nA: \x0b\r\n\r\n"), 400),
    "a folded trailer": (chunked(b"0\r\nA: b\r\n c\r\n\r\n"), 400),
    "LF in trailers": (chunked(b"0\r\nA: b\n\r\n"), 400),
    "LF for trailers": (chunked(b"0\r\n\n"), 400),
    "large trailers": (chunked(b"0\r\n" + b"A: b\r\n" * 1400 + b"\r\n"), 431),
    "a large trailer": (chunked(b"0\r\nA: " + b"b" * 8200 + b"\r\n\r\n"), 431),
    "an endless trailer": (chunked(b"0\r\nA: " + b"b" * 8200), 431),
}

"""Python's http.client and urllib against a gateway: plain uses, which must all pass. GATEHOUSE_URL says where."""
import gzip
import http.client
import http.cookiejar
import json
import os
import ssl
import urllib.parse
import urllib.request

base = os.environ["GATEHOUSE_URL"]
trust = ssl.create_default_context(cafile=os.environ["GATEHOUSE_CA"])
wrong = 0


def expect(name, good, told):
    global wrong
    if not good:
        wrong += 1
        print(name + ":", str(told)[:300])


connection = http.client.HTTPSConnection(urllib.parse.urlsplit(base).netloc, context=trust, timeout=20)


def use(name, method, target, body=None, fields={}, **want):
    """One call on the same connection; the server's view of it must hold what is wanted."""
    connection.request(method, target, body=body, headers=fields)
    answer = connection.getresponse()
    text = answer.read().decode()
    seen = json.loads(text) if answer.status == 200 and text.startswith("{") else {}
    expect(name, answer.status == 200 and all(seen.get(k) == v for k, v in want.items()), (answer.status, text))


TYPE = {"Content-Type": "application/json"}
use("GET", "GET", "/notes?" + urllib.parse.urlencode({"q": "Zoë & co; 100%"}), Target="/notes?q=Zo%C3%AB%20%26%20co%3B%20100%25")
use("POST", "POST", "/notes", json.dumps({"text": "Zoë"}), TYPE, Method="POST")
use("POST, chunked", "POST", "/notes", iter([b'{"text":', b'"parts"}']), TYPE, Body='{"text":"parts"}')
use("POST of gzip", "POST", "/notes", gzip.compress(b'{"text":"z"}'), {**TYPE, "Content-Encoding": "gzip"}, Body='{"text":"z"}')
use("DELETE", "DELETE", "/notes", Method="DELETE")
use("HEAD", "HEAD", "/file")
use("GET after HEAD", "GET", "/notes?q=1", Target="/notes?q=1")

opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=trust), urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
form = urllib.parse.urlencode({"text": "a b", "n": "c&d"}).encode()
for name, request in {
    "urllib GET": urllib.request.Request(base + "/notes?q=a+b"),
    "urllib PUT of a form": urllib.request.Request(base + "/notes", data=form, method="PUT"),
    "urllib POST": urllib.request.Request(base + "/notes", data=b'{"n":1}', headers=TYPE),
}.items():
    with opener.open(request, timeout=20) as answer:
        expect(name, json.load(answer)["Method"] == request.get_method(), answer.status)
with opener.open(urllib.request.Request(base + "/file", headers={"Range": "bytes=0-15"}), timeout=20) as answer:
    expect("urllib range", answer.status == 206 and answer.read() == b"0123456789abcdef", answer.status)

if wrong == 0:
    print("all good")

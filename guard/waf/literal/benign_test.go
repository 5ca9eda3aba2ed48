package literal

import "strings"

type value struct{ kind, text string }

// benign are values as honest clients send them.
func benign() []value {
	var out []value
	for kind, text := range map[string]string{"prose": prose, "languages": languages, "names": names, "keys": keys, "technical": technical, "headers": headers, "urls": urls} {
		for line := range strings.Lines(text) {
			if line = strings.TrimSpace(line); line != "" {
				out = append(out, value{kind, line})
			}
		}
	}
	return out
}

const prose = `
I ordered two of these last month and both arrived on time, well packed and exactly as described.
Could you please change the delivery address? We moved to a new house and the old one is no longer ours.
The battery doesn't last as long as promised, but customer service was very helpful and sent a replacement.
"Best purchase of the year," my wife said when she opened the box (she never says that).
Please select your preferred size from the list and update the cart before you order.
Our meeting has been moved to Thursday at 3:30 pm; let me know whether that works for you and Tom.
It's not the price that I mind - it's that nobody told me about the fee until the very end.
We're looking for a select specialty hospital, or a union of clinics, where patients can join without delay.
The file you asked for is in the shared folder; open it, read the second page and tell me what you think.
He wrote: "I'll be there at 5, don't wait for me." Then he drove off and nobody saw him again that night.
Add two eggs, a cup of sugar & a pinch of salt; mix well, then bake at 180 degrees for 25 minutes.
Thanks for the quick reply! I have attached the invoice (no. 2024-118) and the signed contract.
The system was down for about 2 hours yesterday. When will it be fixed? Who can I call?
My cat likes to sleep on top of the printer, which is why the date on the last page is missing.
If you like this product, you may also like: wool socks, leather gloves, and a hat for 20% less.
The find of the year: a small cafe behind the station with echo-free rooms and great coffee.
Insert coin into the slot, drop the ticket in the box and set the table for four people.
All items must be returned within 30 days; after that, a fee of 15 EUR (or $16) will be charged.
Where is my order? It was shipped on 03/04 and the tracking page says "out for delivery" since Monday.
He's the best teacher we've had, and the kids love him; they've learned so much since September.
Great value for money. Would buy again and recommend it to a friend or to anyone who travels a lot.
Room 12/B on the 3rd floor - ask at the desk, they'll give you the key + the wifi password.
The script of the play is on my desk, with comments by the author in the margin.
Our shop is closed on Sundays and public holidays; orders placed then are sent on the next working day.
`

const languages = `
Guten Tag, ich möchte meine Bestellung ändern, weil ich die falsche Größe gewählt habe. Geht das noch?
Die Qualität ist super, aber der Versand hat leider fast zwei Wochen gedauert und niemand wusste warum.
J'ai reçu mon colis aujourd'hui, mais l'article est cassé; pouvez-vous m'envoyer un nouveau, s'il vous plaît ?
C'est très bien fait, l'équipe a été à l'écoute et d'une gentillesse rare. Merci beaucoup !
El producto llegó en buen estado, pero la caja estaba abierta. ¿Puedo pedir un reembolso, por favor?
Estamos muy contentos con el servicio; la entrega fue rápida y el precio es justo. ¡Volveremos!
La consegna è stata veloce e il prodotto corrisponde alla descrizione; l'unico difetto è il colore.
Vorrei disdire l'abbonamento perché non lo uso più da un po'. Come si fa?
Gostaria de saber se vocês têm este modelo em azul, pois não encontrei no site. Obrigada!
Dzień dobry, czy mogę odebrać zamówienie osobiście w sklepie przy ulicy Długiej? Dziękuję za odpowiedź.
Здравствуйте, подскажите, пожалуйста, когда будет доставлен мой заказ и можно ли изменить адрес?
商品は昨日届きました。とても満足しています。ありがとうございました。
我想修改收货地址，请问可以吗？谢谢您的帮助。
مرحبا، أريد أن أعرف متى سيصل طلبي. شكرا جزيلا لكم على المساعدة.
`

const names = `
John Smith
Anna-Maria O'Neill
François Lefèvre
Müller
Søren Kierkegaard
Jean-Luc d'Arc
van der Berg
Smith & Sons Ltd.
Acme Corp. (UK)
Ann
bob
Springfield
12 Main Street, Apt. 4
5th Avenue 1020
New York
Baden-Württemberg
São Paulo
Straße des 17. Juni 135
Wool socks, blue, size L
USB-C cable 2m
iPhone 15 Pro Max 256GB
Nike Air Max 90
T-shirt "Summer"
Coffee beans 500 g
Marketing
Product manager
active
pending
shipped
en-US
EUR
United Kingdom
true
default
admin
user
system
test
medium
credit_card
standard
`

const keys = `
id
user_id
json.items.0.name
json.items.12.price.amount
json.user.email
json.address.street
json.created_at
json.description
firstName
lastName
order[items][0][sku]
filter[status]
page
page_size
sort
q
limit
offset
include
fields
json.data.attributes.title
json.meta.total
x-request-id
callback
redirect_uri
access_token
grant_type
client_id
scope
state
type
json.metadata.source
json.lines.3.quantity
`

const technical = `
7c9e6679-7425-40de-944b-e07fc1f90ae7
f47ac10b-58cc-4372-a567-0e02b2c3d479
2024-03-15T09:26:53Z
2024-03-15T09:26:53.123+02:00
2024-03-15
15/03/2024
19:45
42
1
0
129.95
-3.5
1e6
+49 30 1234567
(555) 123-4567
john.smith@example.com
anna+orders@mail.example.co.uk
192.168.1.10
2001:db8::1
eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U
dGhpcyBpcyBhIHRlc3Qgb2YgYmFzZTY0IHRleHQ=
d41d8cd98f00b204e9800998ecf8427e
e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
#ff8800
v1.2.3
AB-1234-XY
DE89 3704 0044 0532 0130 00
4111111111111111
image/png
report-2024.pdf
IMG_20240315_092653.jpg
00:1A:2B:3C:4D:5E
52.5200,13.4050
ORD-2024-000123
sku_9f8e7d6c
name,-created_at
status:active
price>=10
a1b2c3d4
{"a":1,"b":[true,false,null],"c":"text"}
[1,2,3]
`

const headers = `
Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36
Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.2 Safari/605.1.15
Mozilla/5.0 (X11; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0
curl/8.4.0
okhttp/4.12.0
python-requests/2.31.0
text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8
application/json
application/json, text/plain, */*
gzip, deflate, br
en-US,en;q=0.9,de;q=0.8
no-cache
keep-alive
max-age=0
"Not_A Brand";v="8", "Chromium";v="120", "Google Chrome";v="120"
Bearer eyJhbGciOiJSUzI1NiIsImtpZCI6ImsxIn0.eyJpc3MiOiJodHRwczovL2lkcC5leGFtcGxlIn0.c2lnbmF0dXJl
W/"33a64df551425fcc55e4d42a148795d9f25f89d4"
Wed, 21 Oct 2024 07:28:00 GMT
session=8f14e45fceea167a; theme=dark; _ga=GA1.2.1234567890.1700000000
multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxkTrZu0gW
`

const urls = `
https://www.example.com/
https://shop.example.com/products/42?color=blue&size=L
/api/v1/orders/42
/api/v1/users/7c9e6679-7425-40de-944b-e07fc1f90ae7/addresses?limit=20
GET /api/v1/orders/42 HTTP/1.1
POST /api/v2/products HTTP/2.0
page=2&sort=-price&q=blue+shoes
/search?q=caf%C3%A9
api.example.com
localhost:8080
orders
42
/static/js/app.3f2a1b.js
/images/logo.png
`

package literal

import (
	"strings"
	"sync"
)

// ordinary is text as APIs carry it, a value a line, from which the odds of a literal are estimated. It decides only which of several
// sound conditions is kept; what is missing here costs time and never soundness.
const ordinary = `The quick answer is that we don't know yet, but the order (number 1042) will be sent on Monday, as promised.
Please let me know if there is anything else I can do for you; it's been a pleasure to work with your team this year.
She said "yes" and asked whether the price of $19.99 includes shipping. Contact: anna.meier@example.com, +49 30 1234567.
To select the best hotel from our list, update your search and order by price. Insert the card, then enter the code and
wait for a while; if it does not work, or the table is taken, ask a friend for help. We are going to have the meeting at
10:30 in room B-12 / floor 3, 100% sure! What do you think? It is like nothing else, and not all of us can join the call.
{"id":"7c9e6679-7425-40de-944b-e07fc1f90ae7","name":"John Smith","email":"john.smith@example.org","status":"active",
"created_at":"2024-03-15T09:26:53Z","total":129.5,"items":[{"sku":"AB-1234","quantity":2,"price":64.75}],"tags":["new"],
"address":{"street":"12 Main Street","city":"Springfield","zip":"12345","country":"US"},"description":"A nice product"}
https://www.example.com/products/list?page=2&sort=price&q=blue+shoes&utm_source=newsletter /api/v1/users/42/orders
Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36
text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8 gzip, deflate, br en-US,en;q=0.5 session=abc123; theme=dark
Sehr geehrte Damen und Herren, die Lieferung ist heute angekommen und alles ist in Ordnung, vielen Dank für Ihre Hilfe.
Bonjour, je voudrais savoir si l'article est encore disponible et combien coûte la livraison à Paris, s'il vous plaît.
Hola, quiero cambiar la fecha de mi reserva para el próximo fin de semana; gracias por su ayuda y hasta pronto, señor.
Il prodotto è arrivato ieri, ma la scatola era aperta. Vorrei sapere che cosa posso fare per avere un nuovo ordine.
O pedido não chegou ainda, você pode verificar o endereço de entrega? Muito obrigado pela atenção e boa tarde a todos.
Het pakket is vandaag geleverd aan de buren, en ik wil graag weten waarom er niemand heeft gebeld. Met vriendelijke groet.
Zamówienie zostało wysłane wczoraj i powinno dotrzeć do końca tygodnia. Заказ отправлен вчера и будет доставлен завтра.
content-type accept-language user_name first_name last_name order_id product_id created updated type value key data page
`

// floor is what each byte value gets beside what was counted, so that nothing is thought impossible.
const floor = 0.2

// pairs is how often each byte stands in ordinary text, and each byte after another.
type pairs struct {
	single [256]float64 // share of the text
	after  [256][256]float64
}

// counted counts ordinary text, once.
var counted = sync.OnceValue(func() *pairs {
	p := &pairs{}
	text := strings.ReplaceAll(Fold(ordinary), "\n", brink)
	total := float64(len(text)) + 256*floor
	var n [256]float64
	for i := 0; i < len(text); i++ {
		n[text[i]]++
		if i > 0 {
			p.after[text[i-1]][text[i]]++
		}
	}
	n['\n'] += 2      // some values have several lines
	const backing = 6 // how many counts the single share of a byte is worth
	for a := range n {
		p.single[a] = (n[a] + floor) / total
	}
	for a := range n {
		for b := range n {
			p.after[a][b] = (p.after[a][b] + backing*p.single[b]) / (n[a] + backing)
		}
	}
	return p
})

// odds is how likely a place of ordinary text begins with the folded word.
func odds(word string) float64 {
	if word == "" || word == brink {
		return 1
	}
	p := counted()
	o := p.single[word[0]]
	for i := 1; i < len(word); i++ {
		o *= p.after[word[i-1]][word[i]]
	}
	return o
}

// oddsAfter is how likely b stands behind a.
func oddsAfter(a, b byte) float64 { return counted().after[a][b] }

// oddsOf is how likely a byte of ordinary text is in the set.
func oddsOf(s ByteSet) float64 {
	p := counted()
	o := 0.0
	for b := range 256 {
		if s.Has(byte(b)) {
			c := byte(b)
			if c >= 'A' && c <= 'Z' {
				o += p.single[c+'a'-'A'] / 20
				continue
			}
			o += p.single[c]
		}
	}
	return o
}

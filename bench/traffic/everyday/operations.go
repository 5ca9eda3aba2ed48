package everyday

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// operation is one of the API, with what stands in its requests.
type operation struct {
	name, method, path string
	parameters         tree   // of path and query
	media              string // of the body
	body               any
}

// What stands somewhere: a tree of members, a list, a text out of a pool, a value of some form, or the value itself.
type (
	tree map[string]any
	list struct {
		least, most int
		of          any
	}
	text struct {
		pool   string // name of the file
		plain  string // one that nobody could mind
		base64 bool   // it is the content of a file
	}
	form func(r *rand.Rand) any
)

func (t tree) names() []string { return slices.Sorted(maps.Keys(t)) }

func operations() []operation {
	const anyJSON = "application/json"
	name, line := text{pool: "names", plain: "Ann"}, text{pool: "subjects", plain: "A question"}
	sku, phone, flag, moment := digits("SKU-", 5), digits("+49301234", 4), one(true, false), form(instant)
	uri := func(pool string) text { return text{pool: pool, plain: "https://shop.example/ann"} }
	return []operation{
		{"searchProducts", "GET", "/products", tree{"q": text{pool: "searches", plain: "blue"}, "category": one("clothes", "books", "kitchen", "garden", "toys"),
			"sort": one("price", "-price", "newest"), "page": one("1", "2", "17")}, "", nil},
		{"addReview", "POST", "/products/{sku}/reviews", tree{"sku": sku}, anyJSON, tree{"rating": whole(1, 5), "title": line, "text": text{pool: "reviews", plain: "Good"},
			"author": name, "language": one("ar", "de", "en", "es", "fr", "ja", "ru", "zh"), "recommends": flag}},
		{"placeOrder", "POST", "/orders", nil, anyJSON, tree{
			"customer": tree{"name": name, "email": one("ann@example.com", "bob.o'neill+orders@example.org", "j.gross@mail.example"), "phone": phone},
			"ship_to": tree{"street": text{pool: "streets", plain: "High Street"}, "city": text{pool: "cities", plain: "London"},
				"postcode": one("10117", "SW1A 1AA", "1000 AB", "100-0001", "NY 10003"), "country": one("DE", "GB", "OR", "JP", "US")},
			"items": list{1, 6, tree{"sku": sku, "quantity": whole(1, 9), "price": form(price), "engraving": text{pool: "engravings", plain: "Ann"}}},
			"note":  text{pool: "notes", plain: "thank you"}, "coupon": one("AUTUMN26", "SELECT10", "NULL", "OR1EQ1"), "gift": flag, "placed": moment}},
		{"changeContact", "PATCH", "/contacts/{id}", tree{"id": form(uuid)}, "application/json-patch+json",
			list{1, 4, tree{"op": one("add", "replace", "test"), "path": one("/name", "/note", "/tags/-", "/address/street", "/phones/0"),
				"value": text{pool: "notes", plain: "thank you"}}}},
		{"importContacts", "POST", "/contacts/import", nil, anyJSON, tree{"data": text{pool: "csv", plain: "name\nAnn"}, "delimiter": one("comma", "semicolon", "tab"), "header": flag}},
		{"findProviders", "POST", "/providers/search", nil, anyJSON, tree{"name": text{pool: "facilities", plain: "hospital"}, "specialty": text{pool: "specialties", plain: "surgery"},
			"near": tree{"latitude": form(degree), "longitude": form(degree)}, "radius_km": whole(1, 100), "languages": list{0, 3, one("de", "en", "or", "id", "ls")}, "accepting": flag}},
		{"bookAppointment", "POST", "/appointments", nil, anyJSON, tree{
			"patient": tree{"name": name, "born": one("1954-04-03", "2019-12-31"), "insurance": digits("A", 9), "phone": phone},
			"slot":    moment, "provider": form(uuid), "facility": text{pool: "facilities", plain: "hospital"}, "reason": text{pool: "reasons", plain: "cough"}}},
		{"refer", "POST", "/referrals", nil, anyJSON, tree{"patient": form(uuid), "to": text{pool: "facilities", plain: "hospital"}, "specialty": text{pool: "specialties", plain: "surgery"},
			"diagnosis": list{1, 4, one("J18.9", "I10", "E11.65", "S82.101A")}, "urgency": one("routine", "soon", "urgent"), "letter": text{pool: "letters", plain: "Thank you"}}},
		{"openTicket", "POST", "/tickets", nil, anyJSON, tree{"subject": line, "body": text{pool: "tickets", plain: "It is slow"}, "severity": one("low", "normal", "high", "urgent"),
			"version": one("5.2", "5.2.1", "4.19.0"), "log": text{pool: "logs", plain: "started"}, "attachments": list{1, 2, tree{"name": text{pool: "filenames", plain: "picture.png"},
				"media": one("text/plain", "image/png"), "content": text{pool: "logs", plain: "started", base64: true}}}}},
		{"commentTicket", "POST", "/tickets/{number}/comments", tree{"number": one("7", "1183", "20231")}, anyJSON,
			tree{"text": text{pool: "comments", plain: "Same here"}, "internal": flag, "mentions": list{0, 2, one("@ann", "@bob", "@root")}}},
		{"saveArticle", "PUT", "/articles/{slug}", tree{"slug": one("our-new-office", "select-from-union", "release-5-2")}, anyJSON,
			tree{"title": line, "summary": text{pool: "summaries", plain: "News"}, "markdown": text{pool: "articles", plain: "# News"}, "source": uri("websites"),
				"tags": list{0, 4, one("news", "sql", "how-to", "script", "drop-table")}, "published": moment}},
		{"changeProfile", "PUT", "/me", nil, anyJSON, tree{"display_name": name, "bio": text{pool: "bios", plain: "Teacher"}, "website": uri("websites"), "picture": uri("pictures"),
			"email": one("ann@example.com", "o'neill@example.org"), "time_zone": one("Europe/Berlin", "America/New_York"), "newsletter": flag,
			"settings": text{pool: "settings", plain: "dark"}}},
		{"sendMessage", "POST", "/conversations/{id}/messages", tree{"id": form(uuid)}, anyJSON, tree{"text": text{pool: "messages", plain: "hello"}, "reply_to": form(uuid), "sent": moment}},
		{"addWebhook", "POST", "/webhooks", nil, anyJSON, tree{"url": uri("hooks"), "events": list{1, 3, one("order.placed", "order.paid", "ticket.opened")}, "secret": form(secret),
			"template": text{pool: "templates", plain: "An order"}}},
		{"addAlert", "POST", "/alerts", nil, anyJSON, tree{"name": text{pool: "alerts", plain: "Errors"}, "pattern": text{pool: "patterns", plain: "error"}, "threshold": form(price),
			"window": one("5m", "1h", "30s"), "channel": one("email", "chat", "pager")}},
		{"receiveMail", "POST", "/mail", nil, anyJSON, tree{"from": text{pool: "senders", plain: "ann@example.com"}, "to": list{1, 2, one("support@example.com", "sales@example.com")}, "subject": line,
			"headers": text{pool: "headers", plain: "Subject: hello"}, "text": text{pool: "mails", plain: "Hello"}, "received": moment}},
		{"saveTranslations", "PUT", "/translations/{locale}", tree{"locale": one("de", "pt-BR", "zh-CN")}, anyJSON,
			list{1, 8, tree{"key": one("cart.items", "button.delete", "script.load", "order.by"), "text": text{pool: "translations", plain: "Yes"}}}},
	}
}

// texts gives the texts out of pools, by the way to their fields.
func (op operation) texts() map[string]text {
	found := map[string]text{}
	var walk func(way string, n any)
	walk = func(way string, n any) {
		switch n := n.(type) {
		case tree:
			for name, sub := range n {
				walk(strings.TrimPrefix(way+"."+name, "."), sub)
			}
		case list:
			walk(strings.TrimPrefix(way+".*", "."), n.of)
		case text:
			found[way] = n
		}
	}
	walk("", op.parameters)
	walk("", op.body)
	return found
}

func one(values ...any) form { return func(r *rand.Rand) any { return values[r.IntN(len(values))] } }

func whole(least, most int) form {
	return func(r *rand.Rand) any { return least + r.IntN(most-least+1) }
}

// digits is a text that ends with so many of them.
func digits(before string, n int) form {
	return func(r *rand.Rand) any {
		b := []byte(before)
		for range n {
			b = strconv.AppendInt(b, int64(r.IntN(10)), 10)
		}
		return string(b)
	}
}

func price(r *rand.Rand) any {
	return json.Number(fmt.Sprintf("%d.%02d", r.IntN(1000), r.IntN(100)))
}

func degree(r *rand.Rand) any {
	return json.Number(fmt.Sprintf("%d.%05d", r.IntN(178)-89, r.IntN(100_000)))
}

func instant(r *rand.Rand) any {
	return fmt.Sprintf("2026-%02d-%02dT%02d:%02d:%02d%s", 1+r.IntN(12), 1+r.IntN(28), r.IntN(24), r.IntN(60), r.IntN(60), []string{"Z", "+01:00", ".021-05:00"}[r.IntN(3)])
}

func uuid(r *rand.Rand) any {
	return fmt.Sprintf("%08x-%04x-4%03x-a%03x-%012x", r.Uint32(), r.IntN(1<<16), r.IntN(1<<12), r.IntN(1<<12), r.Int64N(1<<48))
}

func secret(r *rand.Rand) any {
	b := make([]byte, 32)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return base64.StdEncoding.EncodeToString(b)
}

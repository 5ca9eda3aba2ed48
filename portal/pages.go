package portal

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"path"
	"time"

	"github.com/gatehouse-sec/gatehouse/guard/identity/session/kept"
)

//go:embed pages
var files embed.FS

// pages are read once; what fails there fails a test.
var pages = template.Must(template.New("").Funcs(template.FuncMap{
	"moment": func(t time.Time) string { return t.UTC().Format("2 Jan 2006, 15:04 UTC") },
	"exact":  func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
}).ParseFS(files, "pages/*.html"))

// policy keeps a page from running, loading or framing anything. A form leads to this origin, and from there perhaps to a
// provider, which browsers count as well.
const policy = "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'"

// page is what a template is given.
type page struct {
	Title    string
	Event    string
	Back     string // where to begin again, "": nowhere
	To       string
	Word     string
	Choices  []Provider
	Problem  string // what is wrong with what was typed
	Typed    string // the name that was typed
	Factor   bool   // the user has a second factor
	May      bool   // and may enrol one
	Secret   string
	Carried  string // sealed
	Link     template.URL
	Picture  template.URL
	Codes    []string
	Left     int
	Signed   bool
	Name     string
	Provider string
	Sessions []kept.Listed
	Current  string
}

func (p *Portal) show(w http.ResponseWriter, r *http.Request, status int, name string, v page) {
	v.Event = r.Header.Get(p.tools.Event)
	var b bytes.Buffer
	if err := pages.ExecuteTemplate(&b, name+".html", v); err != nil {
		p.tools.Log.Error("a page can't be made", "page", name, "error", err)
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", policy)
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "same-origin") // without one, a form says that it is of no origin, which is refused
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // whoever is gone misses it
}

// problems are what can go wrong, by the word in addresses, each with the status that fits.
var problems = map[string]int{
	"link": http.StatusBadRequest, "browser": http.StatusBadRequest, "slow": http.StatusBadRequest, "used": http.StatusBadRequest,
	"answer": http.StatusBadGateway, "provider": http.StatusBadGateway, "denied": http.StatusForbidden, "nothing": http.StatusNotFound,
	"invitation": http.StatusNotFound, "foreign": http.StatusForbidden, "factor": http.StatusForbidden, "stale": http.StatusForbidden, "fault": http.StatusServiceUnavailable,
}

func (p *Portal) problem(w http.ResponseWriter, r *http.Request, word, back string) {
	status, known := problems[word]
	if !known {
		word, status = "nothing", http.StatusNotFound
	}
	p.show(w, r, status, "problem", page{Title: "Sign-in did not work", Word: word, Back: back})
}

func (p *Portal) choose(w http.ResponseWriter, r *http.Request, names []string) {
	v := page{Title: "Sign in", To: r.URL.Query().Get("to")}
	for _, name := range names {
		if c := p.providers[name]; c != nil {
			v.Choices = append(v.Choices, c.Provider)
		} else if name == LocalName && p.cfg.Local != nil {
			v.Choices = append(v.Choices, Provider{Name: name, Title: p.cfg.Local.Title})
		}
	}
	p.show(w, r, http.StatusOK, "choose", v)
}

func (p *Portal) home(w http.ResponseWriter, r *http.Request) {
	v := page{Title: "Your sessions"}
	if e := p.signedIn(r); e != nil {
		v.Signed, v.Name, v.Current, v.Sessions = true, e.Name, e.ID, p.mine(e)
		if v.Name == "" {
			v.Name = e.Subject
		}
		v.Provider = e.Provider
		if c := p.providers[e.Provider]; c != nil {
			v.Provider = c.Title
		} else if e.Provider == LocalName && p.cfg.Local != nil {
			v.Provider = p.cfg.Local.Title
		}
		has, may, err := p.tools.Factors.Has(r.Context(), whose(e))
		if err != nil {
			p.fail(w, r, err)
			return
		}
		v.Factor, v.May = has, has || may
	} else {
		v.Title = "Not signed in"
	}
	p.show(w, r, http.StatusOK, "home", v)
}

func (p *Portal) style(w http.ResponseWriter, _ *http.Request) {
	data, err := files.ReadFile("pages/style.css")
	if err != nil {
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	w.Header().Set("Cache-Control", "max-age=3600")
	_, _ = w.Write(data) // whoever is gone misses it
}

// AtOrigin serves what is at the portal's origin.
func (p *Portal) AtOrigin() http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("GET /{$}", p.home)
	m.HandleFunc("GET /style.css", p.style)
	m.HandleFunc("GET /sign-in", p.signIn)
	m.HandleFunc("GET /sign-in/{provider}", p.signInWith)
	m.HandleFunc("POST /sign-in/{provider}", p.signInLocal)
	m.HandleFunc("GET /invitation/{link}", p.invitation)
	m.HandleFunc("POST /invitation/{link}", p.choosePassword)
	m.HandleFunc("GET /factor", p.askFactor)
	m.HandleFunc("POST /factor", p.showFactor)
	m.HandleFunc("GET /factor/enrol", p.draftFactor)
	m.HandleFunc("POST /factor/enrol", p.enrolFactor)
	m.HandleFunc("GET /callback/{provider}", p.callback)
	m.HandleFunc("GET /signed-out", func(w http.ResponseWriter, r *http.Request) {
		p.show(w, r, http.StatusOK, "signed_out", page{Title: "Signed out"})
	})
	m.HandleFunc("GET /problem/{word}", func(w http.ResponseWriter, r *http.Request) { p.problem(w, r, r.PathValue("word"), "") })
	m.HandleFunc("POST /sign-out", p.signOut)
	m.HandleFunc("POST /sessions/end", p.endOne)
	m.HandleFunc("POST /back-channel/{provider}", p.backChannel)
	return p.alone(m)
}

// alone keeps what is on its way through a browser from every page that opened, framed or fetched it. A script in an application
// could else open a login of its own making in a window, make the host refuse the last step with an answer that it may look at,
// and read the code from the window's address.
func (p *Portal) alone(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cross-Origin-Opener-Policy", "same-origin")
		dest := r.Header.Get("Sec-Fetch-Dest")
		page := dest == "" || dest == "document"
		if by := path.Base(r.URL.Path); !page && r.Method == http.MethodGet && !(by == "style.css" && dest == "style") && !(by == "session" && dest == "empty") || r.Header.Get("Service-Worker") != "" {
			p.elsewhere(w, r, "foreign")
			return
		}
		h.ServeHTTP(w, r)
	})
}

// AtHost serves what is below HostBase at the hosts of APIs.
func (p *Portal) AtHost() http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("GET /sign-in", p.beginHere)
	m.HandleFunc("GET /return", p.comeBack)
	m.HandleFunc("GET /sign-out", func(w http.ResponseWriter, _ *http.Request) { p.send(w, p.cfg.Origin+"/") })
	m.HandleFunc("POST /sign-out", p.signOut)
	m.HandleFunc("GET /session", p.whoAmI)
	return p.alone(m)
}

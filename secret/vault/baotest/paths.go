package baotest

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// login is auth/MOUNT/login of AppRole (role_id, secret_id) and of Kubernetes (role, jwt).
func (s *Server) login(c call) {
	name, proof := "role_id", "secret_id"
	if _, pod := c.body["jwt"]; pod {
		name, proof = "role", "jwt"
	}
	if !s.takes(c, "POST PUT", []string{name, proof}, nil) {
		return
	}
	if c.id != "" {
		s.odd(c, "a token at login")
		return
	}
	who, _ := c.body[name].(string)
	what, _ := c.body[proof].(string)
	if want, ok := s.roles[who]; !ok || want != what {
		refuse(c.w, http.StatusBadRequest, "invalid role or secret ID "+what) // a server that repeats what it got
		return
	}
	id := s.issue(s.TokenTTL, s.TokenTTL > 0)
	s.envelope(c.w, map[string]any{"auth": s.auth(id)})
}

func (s *Server) auth(id string) map[string]any {
	t := s.tokens[id]
	return map[string]any{"client_token": id, "accessor": random(12), "policies": []string{"default", "gatehouse"}, "token_policies": []string{"default", "gatehouse"},
		"metadata": nil, "lease_duration": s.left(t.ends), "renewable": t.renewable, "entity_id": "", "token_type": "service", "orphan": true, "num_uses": 0}
}

func (s *Server) left(end time.Time) int64 {
	if end.IsZero() {
		return 0
	}
	return int64(end.Sub(s.Now()) / time.Second)
}

func (s *Server) lookup(c call) {
	if !s.takes(c, "GET", nil, nil) {
		return
	}
	s.envelope(c.w, map[string]any{"data": map[string]any{"id": c.id, "ttl": s.left(c.token.ends), "renewable": c.token.renewable, "policies": []string{"default"}, "path": "auth/token/create", "type": "service"}})
}

func (s *Server) renewSelf(c call) {
	if !s.takes(c, "POST PUT", nil, []string{"increment"}) {
		return
	}
	if !c.token.renewable || c.token.ends.IsZero() {
		refuse(c.w, http.StatusBadRequest, "lease is not renewable")
		return
	}
	end := s.Now().Add(s.TokenTTL)
	if most := c.token.began.Add(s.TokenMax); s.TokenMax > 0 && most.Before(end) {
		end = most
	}
	c.token.ends = end
	s.envelope(c.w, map[string]any{"auth": s.auth(c.id)})
}

func (s *Server) revokeSelf(c call) {
	if !s.takes(c, "POST PUT", nil, nil) {
		return
	}
	delete(s.tokens, c.id)
	c.w.WriteHeader(http.StatusNoContent)
}

func (s *Server) renew(c call) {
	if !s.takes(c, "POST PUT", []string{"lease_id"}, []string{"increment"}) {
		return
	}
	id, _ := c.body["lease_id"].(string)
	l := s.living(id)
	if l == nil {
		refuse(c.w, http.StatusBadRequest, "lease not found: "+id)
		return
	}
	end := s.Now().Add(s.LeaseTTL)
	if most := l.began.Add(s.LeaseMax); most.Before(end) {
		end = most
	}
	l.ends = end
	s.envelope(c.w, map[string]any{"lease_id": id, "renewable": true, "lease_duration": s.left(end)})
}

func (s *Server) revoke(c call) {
	if !s.takes(c, "POST PUT", []string{"lease_id"}, []string{"sync"}) {
		return
	}
	id, _ := c.body["lease_id"].(string)
	delete(s.leases, id)
	c.w.WriteHeader(http.StatusNoContent)
}

// mountOf finds the mount of a path.
func (s *Server) mountOf(path string) (mount, engine string) {
	for prefix := path; ; {
		if e, ok := s.mounts[prefix]; ok {
			return prefix, e
		}
		cut := strings.LastIndexByte(prefix, '/')
		if cut < 0 {
			return "", ""
		}
		prefix = prefix[:cut]
	}
}

func (s *Server) mounted(c call) {
	if !s.takes(c, "GET", nil, nil) {
		return
	}
	mount, engine := s.mountOf(strings.TrimPrefix(c.path, "sys/internal/ui/mounts/"))
	if engine == "" || s.HideMounts {
		refuse(c.w, http.StatusForbidden, "preflight capability check returned 403, please ensure client's policies grant access to path")
		return
	}
	kind, options := engine, map[string]any(nil)
	switch engine {
	case "kv1":
		kind, options = "kv", map[string]any{"version": "1"}
	case "kv2":
		kind, options = "kv", map[string]any{"version": "2"}
	}
	s.envelope(c.w, map[string]any{"data": map[string]any{"path": mount + "/", "type": kind, "options": options, "description": "", "local": false, "uuid": random(8)}})
}

func (s *Server) read(c call) {
	mount, engine := s.mountOf(c.path)
	if engine == "" {
		refuse(c.w, http.StatusNotFound, "no handler for route "+c.path)
		return
	}
	if !s.takes(c, "GET", nil, nil) {
		return
	}
	switch engine {
	case "kv1":
		all := s.kv[c.path]
		if len(all) == 0 || all[len(all)-1].deleted {
			refuse(c.w, http.StatusNotFound)
			return
		}
		s.envelope(c.w, map[string]any{"data": all[len(all)-1].data, "lease_duration": 2764800})
	case "kv2":
		s.readVersioned(c, mount)
	case "database":
		s.create(c, mount)
	}
}

func (s *Server) readVersioned(c call, mount string) {
	rest, ok := strings.CutPrefix(c.path, mount+"/data/")
	if !ok {
		// A real server answers 404 with a warning for a path of version 1.
		refuse(c.w, http.StatusNotFound)
		s.strange = append(s.strange, "GET "+c.path+": a path of version 1 on an engine of version 2")
		return
	}
	all := s.kv[mount+"/"+rest]
	if len(all) == 0 {
		refuse(c.w, http.StatusNotFound)
		return
	}
	v := all[len(all)-1]
	status, deletion := http.StatusOK, ""
	if v.deleted {
		status, deletion, v.data = http.StatusNotFound, s.Now().UTC().Format(time.RFC3339Nano), nil
	}
	answer(c.w, status, map[string]any{"request_id": random(16), "lease_id": "", "renewable": false, "lease_duration": 0, "wrap_info": nil, "warnings": nil, "auth": nil, "data": map[string]any{
		"data":     v.data,
		"metadata": map[string]any{"created_time": v.created.UTC().Format(time.RFC3339Nano), "custom_metadata": nil, "deletion_time": deletion, "destroyed": false, "version": len(all)},
	}})
}

func (s *Server) create(c call, mount string) {
	role, ok := strings.CutPrefix(c.path, mount+"/creds/")
	if !ok || role == "" || strings.Contains(role, "/") {
		refuse(c.w, http.StatusNotFound, "unsupported path")
		return
	}
	s.count++
	user := fmt.Sprintf("v-%s-%d", role, s.count)
	id := c.path + "/" + random(12)
	s.leases[id] = &lease{token: c.id, began: s.Now(), ends: s.Now().Add(s.LeaseTTL), user: user}
	s.envelope(c.w, map[string]any{"lease_id": id, "renewable": true, "lease_duration": s.left(s.leases[id].ends), "data": map[string]any{"username": user, "password": "pw-of-" + user}})
}

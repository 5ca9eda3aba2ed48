package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/gatehouse-sec/gatehouse/gate"
)

// bytesCodec makes messages of bytes, so that no description of them is needed.
type bytesCodec struct{}

func (bytesCodec) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }
func (bytesCodec) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = append([]byte(nil), data...)
	return nil
}
func (bytesCodec) Name() string { return "bytes" }

// grpcServer serves every method by the last part of its name.
func grpcServer(t *testing.T) (url string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.ForceServerCodec(bytesCodec{}), grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		full, _ := grpc.MethodFromServerStream(stream)
		asked, _ := metadata.FromIncomingContext(stream.Context())
		_ = stream.SetHeader(metadata.Pairs("x-head", "h", "x-subject", strings.Join(asked["gatehouse-subject"], " ")))
		stream.SetTrailer(metadata.Pairs("x-tail", "t", "grpc-status-details-bin", "\x00\x01"))
		return serveGRPC(full[strings.LastIndex(full, "/")+1:], stream)
	}))
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	return "http://" + l.Addr().String()
}

func serveGRPC(method string, stream grpc.ServerStream) error {
	var in []byte
	switch method {
	case "Fail":
		return status.Error(codes.FailedPrecondition, "not now")
	case "Large":
		large := make([]byte, 200_000)
		return stream.SendMsg(&large)
	case "Slow":
		if err := stream.RecvMsg(&in); err != nil {
			return err
		}
		time.Sleep(700 * time.Millisecond)
		return stream.SendMsg(&in)
	case "Quiet":
		<-stream.Context().Done()
		return stream.Context().Err()
	}
	for { // Echo
		switch err := stream.RecvMsg(&in); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if err := stream.SendMsg(&in); err != nil {
			return err
		}
	}
}

func grpcRig(t *testing.T) *rig {
	t.Helper()
	return newRig(t, "  - name: shop\n    to: [\""+grpcServer(t)+"\"]\n    upstream: {protocol: h2c}\n"+
		"    grpc: {methods: [/shop.v1.Orders/Echo, /shop.v1.Orders/Fail, /shop.v1.Orders/Large, /shop.v1.Orders/Slow, /shop.v1.Orders/Quiet, /shop.v1.Orders/Admin]}\n"+
		"    operations: {/shop.v1.Orders/Admin: {roles: [admin]}, /shop.v1.Orders/Echo: {callers: any, stream: {message: 100KiB}}, /shop.v1.Orders/Large: {stream: {message: 100KiB}}}\n", nil)
}

// dial gives a real client of gRPC, with a token.
func (r *rig) dial(life time.Duration) (*grpc.ClientConn, context.Context) {
	r.t.Helper()
	c, err := grpc.NewClient(r.secure, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{InsecureSkipVerify: true})), //nolint:gosec // a test
		grpc.WithDefaultCallOptions(grpc.ForceCodec(bytesCodec{})))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = c.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	r.t.Cleanup(cancel)
	if life != 0 {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+r.token(life))
	}
	return c, ctx
}

func TestGRPC(t *testing.T) {
	t.Parallel()
	r := grpcRig(t)
	c, ctx := r.dial(time.Minute)
	in, out := []byte("hello"), []byte(nil)
	var head, tail metadata.MD
	if err := c.Invoke(ctx, "/shop.v1.Orders/Echo", &in, &out, grpc.Header(&head), grpc.Trailer(&tail)); err != nil || string(out) != "hello" {
		t.Fatalf("%q, %v", out, err)
	}
	if strings.Join(head["x-subject"], "") != "ann" || strings.Join(head["x-head"], "") != "h" || strings.Join(tail["x-tail"], "") != "t" { // B10: gRPC's trailers pass
		t.Errorf("head %v, trailers %v", head, tail)
	}
	stream, err := c.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/shop.v1.Orders/Echo")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 { // one after the other: both directions flow at once
		message := []byte(strings.Repeat("m", i*1000))
		if err := stream.SendMsg(&message); err != nil {
			t.Fatal(err)
		}
		if err := stream.RecvMsg(&out); err != nil || len(out) != len(message) {
			t.Fatalf("message %d: %d bytes, %v", i, len(out), err)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if err := stream.RecvMsg(&out); !errors.Is(err, io.EOF) {
		t.Errorf("the end: %v", err)
	}
	if err := c.Invoke(ctx, "/shop.v1.Orders/Fail", &in, &out); status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "not now") {
		t.Errorf("a server's own word: %v", err)
	}
	r.rest()
	var messages []int64
	for _, e := range r.end() {
		if e.Kind == gate.KindStreamClose {
			messages = append(messages, e.Result.Messages)
			if e.Decision.Verdict != "allow" || e.Decision.Reason != "stream.ended" || e.Request.Operation[0] != '/' {
				t.Errorf("%+v", e)
			}
		}
	}
	if len(messages) != 3 || messages[0] != 2 || messages[1] != 100 {
		t.Errorf("messages %v", messages)
	}
}

// A denial reaches a gRPC client in words that it knows; D12, A14: no other spelling of a method's name is that method.
func TestGRPCDenials(t *testing.T) {
	t.Parallel()
	r := grpcRig(t)
	c, ctx := r.dial(time.Minute)
	_, nobody := r.dial(0)
	large := make([]byte, 100<<10+1)
	small := []byte("x")
	var want []string
	for _, k := range []struct {
		name, method string
		ctx          context.Context
		in           []byte
		code         codes.Code
		reason       gate.Reason
	}{
		{"no token", "/shop.v1.Orders/Echo", nobody, small, codes.Unauthenticated, "identity.missing"},
		{"no role", "/shop.v1.Orders/Admin", ctx, small, codes.PermissionDenied, "access.role"},
		{"D12 not declared", "/shop.v1.Orders/Delete", ctx, small, codes.Unimplemented, "match.operation"},
		{"D12 another case", "/shop.v1.orders/Echo", ctx, small, codes.Unimplemented, "match.operation"},
		{"D12 trailing slash", "/shop.v1.Orders/Echo/", ctx, small, codes.Unimplemented, "match.operation"},
		{"D12 two slashes", "//shop.v1.Orders/Echo", ctx, small, codes.InvalidArgument, "path.empty_segment"},
		{"D12 escaped", "/shop.v1.Orders%2FEcho", ctx, small, codes.InvalidArgument, "path.encoded_slash"},
		{"message too large", "/shop.v1.Orders/Echo", ctx, large, codes.ResourceExhausted, "stream.message"},
		{"answer too large", "/shop.v1.Orders/Large", ctx, small, codes.ResourceExhausted, "stream.message"},
	} {
		var out []byte
		err := c.Invoke(k.ctx, k.method, &k.in, &out)
		if status.Code(err) != k.code {
			t.Errorf("%s: %v, want %s", k.name, err, k.code)
		}
		want = append(want, string(k.reason))
	}
	// A14: a path that is no path never becomes a method.
	request, _ := http.NewRequest("POST", "https://"+r.secure, strings.NewReader(""))
	request.URL.Opaque = "shop.v1.Orders/Echo"
	request.Header = r.bearer(time.Minute)
	request.Header.Set("Content-Type", "application/grpc")
	if response, err := r.two().Do(request); err == nil {
		t.Errorf("A14: %d %v", response.StatusCode, response.Header)
		_ = response.Body.Close()
	}
	for _, k := range []struct {
		name, media string
		client      *http.Client
		base        string
		status      int
		reason      string
	}{
		{"plain request over HTTP/2", "application/json", r.two(), "https://" + r.secure, 415, "stream.media_type"},
		{"gRPC-Web", "application/grpc-web", r.two(), "https://" + r.secure, 415, "stream.media_type"},
		{"gRPC over HTTP/1.1", "application/grpc", http.DefaultClient, "http://" + r.plain, 505, "stream.version"},
	} {
		want = append(want, k.reason)
		request, _ := http.NewRequest("POST", k.base+"/shop.v1.Orders/Echo", strings.NewReader(""))
		request.Header = r.bearer(time.Minute)
		request.Header.Set("Content-Type", k.media)
		response, err := k.client.Do(request)
		if err != nil {
			t.Errorf("%s: %v", k.name, err)
			continue
		}
		_ = response.Body.Close()
		if response.StatusCode != k.status {
			t.Errorf("%s: %d", k.name, response.StatusCode)
		}
	}
	r.rest()
	var got []string
	for _, e := range r.end() {
		if e.Decision.Verdict == "deny" && e.Kind != gate.KindConnection {
			got = append(got, string(e.Decision.Reason))
		}
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("denied for\n%s, want\n%s", got, want)
	}
}

func TestGRPCEnds(t *testing.T) {
	t.Parallel()
	for _, k := range []struct {
		name, method string
		life         time.Duration
		code         codes.Code
		reason       gate.Reason
	}{
		{"D17 a stream that has begun", "/shop.v1.Orders/Echo", 2 * time.Second, codes.Unauthenticated, "stream.expired"},
		{"D17 a call without an answer yet", "/shop.v1.Orders/Quiet", 2 * time.Second, codes.Unauthenticated, "stream.expired"},
		{"I16 the process ends", "/shop.v1.Orders/Echo", time.Minute, codes.Unavailable, "stream.draining"},
	} {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			r := grpcRig(t)
			c, ctx := r.dial(k.life)
			stream, err := c.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, k.method)
			if err != nil {
				t.Fatal(err)
			}
			message, out := []byte("m"), []byte(nil)
			if err := stream.SendMsg(&message); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			if k.reason == "stream.draining" {
				time.AfterFunc(200*time.Millisecond, r.stop)
			}
			for err = nil; err == nil; {
				err = stream.RecvMsg(&out)
			}
			if status.Code(err) != k.code || time.Since(began) > 7*time.Second {
				t.Errorf("after %s: %v", time.Since(began), err)
			}
			r.rest()
			found := ""
			for _, e := range r.end() {
				found += fmt.Sprint(e.Decision.Reason, " ")
			}
			if !strings.Contains(found, string(k.reason)) {
				t.Errorf("events: %s", found)
			}
		})
	}
}

// I16: a call in progress ends by itself when the process does.
func TestGRPCCallOutlivesTheDrain(t *testing.T) {
	t.Parallel()
	r := grpcRig(t)
	c, ctx := r.dial(time.Minute)
	in, out := []byte("slow"), []byte(nil)
	time.AfterFunc(300*time.Millisecond, r.stop)
	if err := c.Invoke(ctx, "/shop.v1.Orders/Slow", &in, &out); err != nil || string(out) != "slow" {
		t.Errorf("%q, %v", out, err)
	}
}

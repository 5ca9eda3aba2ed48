package referee

import (
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
)

// marker is the variable of the environment by which a test binary knows that it is the referee.
const marker = "GATEHOUSE_REFEREE"

// testing is what Main needs of *testing.M.
type tests interface{ Run() int }

// Main is what TestMain of every package that uses the referee calls: os.Exit(referee.Main(m)). In the process that Start
// has made it serves and runs no test.
func Main(m tests) int {
	if os.Getenv(marker) == "" {
		return m.Run()
	}
	if err := serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "referee:", err)
		return 1
	}
	return 0
}

// batch is what is asked at a time.
type batch struct {
	Runs     int
	Requests []Request
}

// ready is the child's first word.
type ready struct{ Failed string }

// serve compiles the directives that come first and judges batches until the parent is gone.
func serve(in io.Reader, out io.Writer) error {
	decoder, encoder := gob.NewDecoder(in), gob.NewEncoder(out)
	var directives string
	if err := decoder.Decode(&directives); err != nil {
		return err
	}
	engine, err := NewEngine(directives)
	if err == nil {
		err = untouched(engine.waf)
	}
	if err != nil {
		return encoder.Encode(ready{err.Error()})
	}
	if err := encoder.Encode(ready{}); err != nil {
		return err
	}
	for {
		var b batch
		if err := decoder.Decode(&b); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := encoder.Encode(judge(engine, b)); err != nil {
			return err
		}
	}
}

// judge runs every request of a batch as often as is asked, several at once.
func judge(engine *Engine, b batch) []Judgement {
	list := make([]Judgement, len(b.Requests))
	next := make(chan int)
	var workers sync.WaitGroup
	for range min(2, runtime.GOMAXPROCS(0)) {
		workers.Go(func() {
			for i := range next {
				list[i] = Judgement{First: engine.Run(b.Requests[i]), Runs: 1}
				for range b.Runs - 1 {
					list[i] = list[i].and(engine.Run(b.Requests[i]))
				}
			}
		})
	}
	for i := range b.Requests {
		next <- i
	}
	close(next)
	workers.Wait()
	return list
}

// Referee is a process of plain Coraza. It may be used by several goroutines, one at a time being served.
type Referee struct {
	mu      sync.Mutex
	process *exec.Cmd
	in      io.WriteCloser
	encoder *gob.Encoder
	decoder *gob.Decoder
}

// Start makes the process, which is this test binary again, and waits until the rules are compiled. It ends with Close, or
// with this process.
func Start(directives string) (*Referee, error) {
	binary, err := os.Executable()
	if err != nil {
		return nil, err
	}
	r := &Referee{process: exec.Command(binary)}
	r.process.Env = append(os.Environ(), marker+"=1")
	r.process.Stderr = os.Stderr
	if r.in, err = r.process.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := r.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := r.process.Start(); err != nil {
		return nil, err
	}
	r.encoder, r.decoder = gob.NewEncoder(r.in), gob.NewDecoder(out)
	var first ready
	if err := errors.Join(r.encoder.Encode(directives), r.decoder.Decode(&first)); err != nil {
		_ = r.Close()
		return nil, fmt.Errorf("the referee does not answer; does TestMain call referee.Main? %w", err)
	}
	if first.Failed != "" {
		_ = r.Close()
		return nil, errors.New("referee: " + first.Failed)
	}
	return r, nil
}

// Judge judges each request so many times.
func (r *Referee) Judge(requests []Request, runs int) ([]Judgement, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	const atOnce = 256
	var list []Judgement
	for len(requests) > 0 {
		n := min(atOnce, len(requests))
		if err := r.encoder.Encode(batch{runs, requests[:n]}); err != nil {
			return nil, fmt.Errorf("ask the referee: %w", err)
		}
		var part []Judgement
		if err := r.decoder.Decode(&part); err != nil {
			return nil, fmt.Errorf("hear the referee: %w", err)
		}
		list, requests = append(list, part...), requests[n:]
	}
	return list, nil
}

// Close ends the process.
func (r *Referee) Close() error {
	_ = r.in.Close()
	return r.process.Wait()
}

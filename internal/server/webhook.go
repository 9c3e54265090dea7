package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/provender-dev/provender/internal/version"
	"github.com/provender-dev/provender/materialize"
)

// What a webhook is told of a view.
const (
	eventFailed    = "failed"    // as many runs in a row as a tick has attempts
	eventRecovered = "recovered" // a run succeeded after that
)

const (
	webhookTimeout = 10 * time.Second // for one try
	webhookTries   = 3
	webhookPause   = 2 * time.Second // after the first try, doubled for each further one
	webhookQueue   = 256             // messages that wait
)

// webhook sends messages about views to a URL, one after another, without holding up who has them sent. The URL may hold
// a secret: only its host is told.
type webhook struct {
	url         string
	host        string
	project     string
	environment string
	logger      *slog.Logger
	client      *http.Client
	pause       time.Duration
	queue       chan *message
}

// message is what a webhook is sent, as docs/reference/json.md has it.
type message struct {
	Version     int        `json:"version"`
	Event       string     `json:"event"`
	Project     string     `json:"project"`
	Environment string     `json:"environment,omitempty"`
	View        string     `json:"view"`
	Run         int64      `json:"run"`
	Attempt     int64      `json:"attempt"`
	Error       string     `json:"error,omitempty"`
	T           *time.Time `json:"t,omitempty"`
	At          time.Time  `json:"at"`
}

func newWebhook(address, project, environment string, logger *slog.Logger) *webhook {
	w := &webhook{
		url: address, project: project, environment: environment, pause: webhookPause,
		queue: make(chan *message, webhookQueue),
		// A redirect would turn the message into a GET.
		client: &http.Client{
			Timeout:       webhookTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	if u, err := url.Parse(address); err == nil {
		w.host = u.Host
	}
	w.logger = logger.With("host", w.host)
	return w
}

// send queues a message about a run that has ended. Where too many wait, it is dropped.
func (w *webhook) send(event string, run *materialize.Run) {
	m := &message{
		Version: 1, Event: event, Project: w.project, Environment: w.environment,
		View: run.View, Run: run.ID, Attempt: run.Attempt, Error: run.Error, At: run.Finished,
	}
	if !run.T.IsZero() {
		m.T = &run.T
	}
	select {
	case w.queue <- m:
	default:
		w.logger.Error("webhook: a message is dropped, as too many wait", "event", m.Event, "view", m.View, "run", m.Run)
	}
}

// run sends what is queued until ctx ends.
func (w *webhook) run(ctx context.Context) {
	defer w.client.CloseIdleConnections()
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-w.queue:
			if err := w.deliver(ctx, m); err != nil {
				w.logger.Error("webhook: a message could not be sent", "event", m.Event, "view", m.View, "run", m.Run, "error", err)
			}
		}
	}
}

// deliver tries to send m until it is taken, at most webhookTries times.
func (w *webhook) deliver(ctx context.Context, m *message) error {
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	pause := w.pause
	for try := 1; ; try++ {
		err := w.post(ctx, body)
		if err == nil || try == webhookTries || ctx.Err() != nil {
			return err
		}
		w.logger.Warn("webhook: a message is sent again", "event", m.Event, "view", m.View, "after", pause, "error", err)
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
		pause *= 2
	}
}

func (w *webhook) post(ctx context.Context, body []byte) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(body))
	if err != nil {
		return errors.New("the URL can't be used")
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", version.Agent("provender"))
	response, err := w.client.Do(request)
	if err != nil {
		// The error of the client names the URL.
		if inside := (*url.Error)(nil); errors.As(err, &inside) {
			err = inside.Err
		}
		return err
	}
	// A connection is used again when its answer was read.
	_, _ = io.CopyN(io.Discard, response.Body, 64<<10)
	_ = response.Body.Close()
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("it answers %s", response.Status)
	}
	return nil
}

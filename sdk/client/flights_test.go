package client_test

import (
	"sync"
	"testing"

	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/sdk/client"
	"github.com/provender-dev/provender/test/flights"
)

var running *flights.Server

// addr is where a server of the flights example listens, which is started when it is first asked for.
var addr = sync.OnceValue(func() string {
	var err error
	running, err = flights.Start()
	must(nil, err)
	return running.Addr
})

// definitionFiles are the example's.
func definitionFiles() []client.DefinitionFile {
	files, err := flights.DefinitionFiles("../../examples/flights")
	must(nil, err)
	return files
}

// withFlights runs tests, and ends the server of the examples.
type withFlights struct{ *testing.M }

func (m withFlights) Run() int {
	code := m.M.Run()
	if running != nil {
		must(nil, running.Stop())
	}
	return code
}

func TestMain(m *testing.M) { testenv.NoLeaksMain(withFlights{m}) }

package redis

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// script is a Lua script and its source.
type script struct {
	*redis.Script
	source string
}

func newScript(source string) script { return script{redis.NewScript(source), source} }

// evaluate runs calls of one script in a pipeline. A call is the arguments behind the script's name, as EVALSHA takes
// them, with room for two in front. Repeating a call must be harmless: a node that does not know the script is taught it
// and asked again. Each result has its error.
func (s *Store) evaluate(ctx context.Context, script script, calls [][]any) []*redis.IntSliceCmd {
	results := make([]*redis.IntSliceCmd, len(calls))
	todo := make([]int, len(calls))
	for i := range calls {
		todo[i] = i
	}
	var name, body any = "evalsha", script.Hash()
	for try := 0; ; try++ {
		pipe := s.client.Pipeline()
		for _, i := range todo {
			calls[i][0], calls[i][1] = name, body
			results[i] = redis.NewIntSliceCmd(ctx, calls[i]...)
			_ = pipe.Process(ctx, results[i])
		}
		_, _ = pipe.Exec(ctx) // each command has its error
		var again []int
		for _, i := range todo {
			if redis.HasErrorPrefix(results[i].Err(), "NOSCRIPT") {
				again = append(again, i)
			}
		}
		switch {
		case len(again) == 0 || try == 2:
			return results
		case try == 0:
			_ = s.eachNode(ctx, func(ctx context.Context, node *redis.Client) error { return script.Load(ctx, node).Err() })
		default: // a node that is still without a slot, while one moves there, is not among them
			name, body = "eval", script.source
		}
		todo = again
	}
}

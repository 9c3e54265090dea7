package fault

import (
	"testing"
	"time"

	"github.com/provender-dev/provender/online/onlinetest"
	"github.com/provender-dev/provender/sdk/client"
)

// TestClusterUnderLoad: slots move and a primary fails over, in a cluster of six, while a server answers from it. No slot
// that moves fails a lookup; a failover fails those of its primary, until the replica has taken over.
func TestClusterUnderLoad(t *testing.T) {
	t.Parallel()
	cluster := onlinetest.StartCluster(t, 3, true)
	x := newStorm(t, cluster.URL)
	before := x.s.Metric("go_goroutines")

	first, second, third := cluster.Primaries[0], cluster.Primaries[1], cluster.Primaries[2]
	for slot := range 20 {
		onlinetest.BeginMove(t, slot, first, second)
		for onlinetest.MoveKeys(t, slot, 1, first, second) > 0 {
		}
		onlinetest.EndMove(t, slot, first, second, third)
	}
	x.answered()
	if all := x.patient.Total(); all.Failed() > 0 {
		t.Errorf("while slots moved: %s: %v", &all, all.Refusals)
	}

	for i, node := range cluster.Primaries {
		node.AwaitReplica(t, cluster.Replicas[i])
	}
	third.Kill()
	x.refused()
	heir := cluster.Replicas[2]
	x.back(func() {
		if err := heir.Client(t).Do(t.Context(), "cluster", "failover", "takeover").Err(); err != nil {
			t.Fatal(err)
		}
		for _, node := range []*onlinetest.Redis{first, second, heir} {
			onlinetest.WaitOwner(t, node, 16000, heir)
		}
	})
	t.Logf("goroutines %v, %v", before, x.s.Metric("go_goroutines"))
	x.check(client.CodeUnavailable, client.CodeDeadlineExceeded)
}

// TestSentinelUnderLoad: the primary dies; the sentinels make its replica the primary, and lookups follow.
func TestSentinelUnderLoad(t *testing.T) {
	t.Parallel()
	sentinel := onlinetest.StartSentinel(t)
	x := newStorm(t, sentinel.URL)
	sentinel.Primary.AwaitReplica(t, sentinel.Replica)
	begun := time.Now()
	sentinel.Primary.Kill()
	sentinel.Notice(t, time.Second)
	x.refused()
	x.back(func() { sentinel.AwaitFailover(t) })
	t.Logf("the sentinels and all took %s", time.Since(begun))
	x.check(client.CodeUnavailable, client.CodeDeadlineExceeded)
}

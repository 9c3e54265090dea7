package feast_test

import (
	"context"
	"log/slog"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/rpc"
	"github.com/provender-dev/provender/internal/rpc/feast"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/online/serving"
	serverpb "github.com/provender-dev/provender/proto/feast/server"
	pb "github.com/provender-dev/provender/proto/feast/serving"
	types "github.com/provender-dev/provender/proto/feast/types"
	"github.com/provender-dev/provender/registry"
)

func TestMain(m *testing.M) { testenv.NoLeaksMain(m) }

// echo answers with the integers that it is asked for; a service "broken" it does not know.
type echo struct{}

func (echo) Lookup(_ context.Context, req *serving.Request) (*serving.Answer, error) {
	if req.Service == "broken" {
		return nil, &problem.Error{Code: problem.Invalid, Message: "broken", Field: "keys.driver"}
	}
	v := columnar.NewVector(columnar.Type{Kind: columnar.Int64}, 1)
	a := &serving.Answer{
		Rows: req.Keys[0].Len(), Names: []string{"same"}, Columns: []*columnar.Vector{v}, Status: make([][]columnar.Status, 1),
		Outputs: make([]registry.Output, 1), Views: []serving.ViewAnswer{{}},
	}
	for i, x := range req.Keys[0].Int64s {
		v.AppendInt64(x)
		a.Status[0] = append(a.Status[0], columnar.Present)
		a.Views[0].Events = append(a.Views[0].Events, int64(i)*1e6)
	}
	return a, nil
}

// TestServices calls both services as generated clients do, with answers small and large.
func TestServices(t *testing.T) {
	server := grpc.NewServer(rpc.ServerOptions(slog.New(slog.DiscardHandler), nil)...)
	feast.Register(server, echo{}, nil)
	l := bufconn.Listen(1 << 20)
	go func() { _ = server.Serve(l) }() // ends with Stop
	defer server.Stop()
	conn, err := grpc.NewClient("passthrough:///x", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := pb.NewServingServiceClient(conn)
	for name, call := range map[string]func(context.Context, *pb.GetOnlineFeaturesRequest, ...grpc.CallOption) (*pb.GetOnlineFeaturesResponse, error){
		"feast.serving.ServingService": client.GetOnlineFeatures,
		"GrpcFeatureServer":            serverpb.NewGrpcFeatureServerClient(conn).GetOnlineFeatures,
	} {
		for _, rows := range []int{0, 1, 3, 100_000, 2} {
			column := &types.RepeatedValue{}
			for i := range rows {
				column.Val = append(column.Val, &types.Value{Val: &types.Value_Int64Val{Int64Val: int64(i)}})
			}
			m, err := call(t.Context(), &pb.GetOnlineFeaturesRequest{
				Kind:     &pb.GetOnlineFeaturesRequest_FeatureService{FeatureService: "s"},
				Entities: map[string]*types.RepeatedValue{"driver": column},
			})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if names := m.Metadata.FeatureNames.Val; len(names) != 2 || names[0] != "driver" || names[1] != "same" {
				t.Errorf("%s: names %q", name, names)
			}
			for _, r := range m.Results {
				for i := range rows {
					if r.Values[i].GetInt64Val() != int64(i) || r.Statuses[i] != pb.FieldStatus_PRESENT {
						t.Fatalf("%s: row %d: %v %v", name, i, r.Values[i], r.Statuses[i])
					}
				}
			}
			for i := range rows {
				if got := m.Results[1].EventTimestamps[i].Seconds; got != int64(i) {
					t.Fatalf("%s: event time %d of row %d", name, got, i)
				}
			}
		}
		_, err := call(t.Context(), &pb.GetOnlineFeaturesRequest{
			Kind: &pb.GetOnlineFeaturesRequest_FeatureService{FeatureService: "broken"},
		})
		s := status.Convert(err)
		if s.Code() != codes.InvalidArgument || s.Message() != "broken" || len(s.Details()) != 2 {
			t.Errorf("%s: %v", name, s)
		}
	}
	info, err := client.GetFeastServingInfo(t.Context(), &pb.GetFeastServingInfoRequest{})
	if err != nil || info.Version == "" {
		t.Errorf("%v, %v", info, err)
	}
}

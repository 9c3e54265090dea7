package flights

// AirportHour is one row of airport_hourly: what was known of an airport at the end of an hour.
type AirportHour struct {
	IATA       string   `parquet:"iata,dict"`
	Hour       int64    `parquet:"hour,timestamp(microsecond)"` // the end of the hour
	Departures int64    `parquet:"departures_1h"`
	AvgDelay   *float64 `parquet:"avg_delay,optional"`     // minutes; null: no delay became known in the hour
	ShareLate  *float64 `parquet:"share_late_1h,optional"` // of the delays that became known, those over 15 minutes
	LoadedAt   int64    `parquet:"loaded_at,timestamp(microsecond)"`
}

// RouteDay is one row of route_daily: what became known of a route in one day.
type RouteDay struct {
	Origin      string   `parquet:"origin,dict"`
	Destination string   `parquet:"destination,dict"`
	Day         int32    `parquet:"day,date"` // holds at its end
	Flights     int64    `parquet:"flights_1d"`
	Distance    int32    `parquet:"distance"` // miles
	MeanDelay   *float64 `parquet:"mean_delay_1d,optional"`
	Delays      []int32  `parquet:"delays_1d,list"`    // minutes, in the order they became known; the last 10 of the day
	BusiestPart string   `parquet:"busiest_part,dict"` // night, morning, afternoon, evening: when most flights left
	LoadedAt    int64    `parquet:"loaded_at,timestamp(microsecond)"`
}

// Flight is one row of the spine: a flight at its departure, labelled with the delay that it came to have.
type Flight struct {
	Origin      string `parquet:"origin,dict"`
	Destination string `parquet:"destination,dict"`
	Departs     int64  `parquet:"departs,timestamp(microsecond)"`
	Distance    int64  `parquet:"distance_miles"`
	Delay       int64  `parquet:"delay"` // minutes: the label
}

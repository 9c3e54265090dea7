package parquet

import (
	"fmt"

	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"

	"github.com/provender-dev/provender/internal/columnar"
)

// form is how a physical value becomes one of Provender's.
type form uint8

const (
	formNone      form = iota // not readable
	formNull                  // every value is null
	formBool                  // BOOLEAN
	formInt32                 // INT32
	formUint32                // INT32 that holds a uint32
	formInt64                 // INT64
	formFloat                 // FLOAT
	formDouble                // DOUBLE
	formHalf                  // FIXED_LEN_BYTE_ARRAY(2), IEEE 754 half precision
	formText                  // BYTE_ARRAY
	formBytes                 // BYTE_ARRAY without a logical type: bytes, or a string of an old writer
	formFixed                 // FIXED_LEN_BYTE_ARRAY
	formUint64                // INT64 that holds a uint64
	formDecimal               // BYTE_ARRAY or FIXED_LEN_BYTE_ARRAY: an integer in two's complement, big-endian
	formUUID                  // FIXED_LEN_BYTE_ARRAY(16)
	formTimestamp             // INT64 with a unit
	formInt96                 // INT96: nanoseconds of the day, Julian day
	formDate                  // INT32: days
)

// natural decides the natural type of a leaf from its physical and logical type.
func (l *leaf) natural() {
	e := &l.elem
	kind := normalize(e)
	l.Physical = e.physicalName()
	if name := kind.name(); name != "" {
		l.Physical += " " + name
	}
	switch kind.id {
	case logicalNull:
		l.form = formNull
		l.Reason = "the column has no type: all its values are null"
		return
	case logicalDecimal:
		l.decimal(kind)
		return
	case logicalTime:
		l.not("a time of day is not an instant; cast the column to int64")
		return
	}
	switch e.physical {
	case format.Boolean:
		l.is(formBool, columnar.Bool)
	case format.Int32:
		l.int32(kind)
	case format.Int64:
		l.int64(kind)
	case format.Int96:
		l.is(formInt96, columnar.Timestamp)
	case format.Float:
		l.is(formFloat, columnar.Float32)
	case format.Double:
		l.is(formDouble, columnar.Float64)
	case format.ByteArray:
		switch kind.id {
		case logicalString, logicalEnum, logicalJSON:
			l.is(formText, columnar.String)
		case logicalNone, logicalBSON:
			l.is(formBytes, columnar.Bytes)
		default:
			l.unknown()
		}
	case format.FixedLenByteArray:
		l.fixed(kind)
	default:
		l.not("its physical type is unknown")
	}
}

func (l *leaf) is(f form, k columnar.Kind) { l.form, l.Type.Kind = f, k }

func (l *leaf) not(reason string) { l.form, l.Reason = formNone, reason }

// unknown rejects a logical type that Provender does not know, or that does not go with the physical one.
func (l *leaf) unknown() {
	l.not("its logical type is not read; cast the column to a type that is, such as string")
}

func (l *leaf) int32(kind logical) {
	switch {
	case kind.id == logicalDate:
		l.is(formDate, columnar.Timestamp)
		l.Date = true
	case kind.id == logicalInt && !kind.signed && kind.bits == 32:
		l.is(formUint32, columnar.Int64)
	case kind.id == logicalNone, kind.id == logicalInt && kind.bits > 0 && kind.bits <= 32:
		l.is(formInt32, columnar.Int32)
	default:
		l.unknown()
	}
}

func (l *leaf) int64(kind logical) {
	switch {
	case kind.id == logicalTimestamp && kind.unit >= unitMillis && kind.unit <= unitNanos:
		l.is(formTimestamp, columnar.Timestamp)
		l.Naive, l.unit = !kind.utc, kind.unit
	case kind.id == logicalTimestamp:
		l.not("the timestamp's unit is unknown; rewrite the column in microseconds")
	case kind.id == logicalInt && !kind.signed && kind.bits == 64:
		l.is(formUint64, columnar.Int64)
	case kind.id == logicalNone, kind.id == logicalInt && kind.bits == 64:
		l.is(formInt64, columnar.Int64)
	default:
		l.unknown()
	}
}

func (l *leaf) fixed(kind logical) {
	e := &l.elem
	switch {
	case e.length <= 0:
		l.not("its length is missing; rewrite the file")
	case kind.id == logicalFloat16 && e.length == 2:
		l.is(formHalf, columnar.Float32)
	case kind.id == logicalUUID && e.length == uuidBytes:
		l.is(formUUID, columnar.String)
	case e.logical.id == logicalNone && e.converted == deprecated.Interval:
		l.not("intervals are not read; cast the column to int64, as a number of seconds say")
	case kind.id == logicalNone:
		l.is(formFixed, columnar.Bytes)
	default:
		l.unknown()
	}
}

// decimal takes decimals without a fraction, which are integers; anything else is no value of a type of ours.
func (l *leaf) decimal(kind logical) {
	e := &l.elem
	integer := columnar.Int64
	if kind.precision <= 9 {
		integer = columnar.Int32
	}
	switch {
	case kind.precision < 1 || kind.scale < 0 || kind.scale > kind.precision:
		l.not("the decimal's precision or scale is not valid; rewrite the file")
	case kind.scale > 0:
		l.not("decimals with a fraction are not read, because float64 would not hold them exactly; cast the column to float64 or string, " +
			"or to an integer of the smallest unit")
	case e.physical == format.Int32 && kind.precision <= 9:
		l.is(formInt32, columnar.Int32)
	case e.physical == format.Int64:
		l.is(formInt64, columnar.Int64)
	case e.physical == format.ByteArray, e.physical == format.FixedLenByteArray && e.length > 0:
		l.is(formDecimal, integer)
	default:
		l.unknown()
	}
}

// normalize returns an element's logical type, taken from the older converted type where it has only that.
func normalize(e *element) logical {
	if e.logical.id != logicalNone {
		return e.logical
	}
	switch e.converted {
	case deprecated.UTF8:
		return logical{id: logicalString}
	case deprecated.Enum:
		return logical{id: logicalEnum}
	case deprecated.Json:
		return logical{id: logicalJSON}
	case deprecated.Bson:
		return logical{id: logicalBSON}
	case deprecated.Decimal:
		return logical{id: logicalDecimal, scale: e.scale, precision: e.precision}
	case deprecated.Date:
		return logical{id: logicalDate}
	case deprecated.TimeMillis:
		return logical{id: logicalTime, utc: true, unit: unitMillis}
	case deprecated.TimeMicros:
		return logical{id: logicalTime, utc: true, unit: unitMicros}
	case deprecated.TimestampMillis:
		return logical{id: logicalTimestamp, utc: true, unit: unitMillis}
	case deprecated.TimestampMicros:
		return logical{id: logicalTimestamp, utc: true, unit: unitMicros}
	case deprecated.Int8, deprecated.Int16, deprecated.Int32, deprecated.Int64:
		return logical{id: logicalInt, signed: true, bits: 8 << (e.converted - deprecated.Int8)}
	case deprecated.Uint8, deprecated.Uint16, deprecated.Uint32, deprecated.Uint64:
		return logical{id: logicalInt, bits: 8 << (e.converted - deprecated.Uint8)}
	}
	return logical{}
}

func (e *element) physicalName() string {
	switch e.physical {
	case format.Boolean:
		return "BOOLEAN"
	case format.Int32:
		return "INT32"
	case format.Int64:
		return "INT64"
	case format.Int96:
		return "INT96"
	case format.Float:
		return "FLOAT"
	case format.Double:
		return "DOUBLE"
	case format.ByteArray:
		return "BYTE_ARRAY"
	case format.FixedLenByteArray:
		return fmt.Sprintf("FIXED_LEN_BYTE_ARRAY(%d)", e.length)
	}
	return fmt.Sprintf("type %d", int32(e.physical))
}

// name returns a logical type as messages have it: "timestamp[ns]".
func (l logical) name() string {
	switch l.id {
	case logicalNone:
		return ""
	case logicalString:
		return "string"
	case logicalEnum:
		return "enum"
	case logicalNull:
		return "null"
	case logicalDecimal:
		return fmt.Sprintf("decimal(%d, %d)", l.precision, l.scale)
	case logicalDate:
		return "date"
	case logicalTime:
		return "time[" + l.unit.String() + "]"
	case logicalTimestamp:
		if l.utc {
			return "timestamp[" + l.unit.String() + ", UTC]"
		}
		return "timestamp[" + l.unit.String() + "]"
	case logicalInt:
		if l.signed {
			return fmt.Sprintf("int%d", l.bits)
		}
		return fmt.Sprintf("uint%d", uint8(l.bits))
	case logicalJSON:
		return "json"
	case logicalBSON:
		return "bson"
	case logicalUUID:
		return "uuid"
	case logicalFloat16:
		return "float16"
	case logicalVariant:
		return "variant"
	}
	return fmt.Sprintf("logical type %d", l.id)
}

func (u unit) String() string {
	switch u {
	case unitMillis:
		return "ms"
	case unitMicros:
		return "us"
	case unitNanos:
		return "ns"
	}
	return "?"
}

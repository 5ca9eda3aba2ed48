package listen

import (
	"context"
	"log/slog"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// zapTo lets certmagic, which speaks zap, write to our log.
func zapTo(log *slog.Logger) *zap.Logger { return zap.New(bridge{log: log.With("part", "acme")}) }

type bridge struct{ log *slog.Logger }

func level(l zapcore.Level) slog.Level {
	switch {
	case l >= zapcore.ErrorLevel:
		return slog.LevelError
	case l >= zapcore.WarnLevel:
		return slog.LevelWarn
	case l >= zapcore.InfoLevel:
		return slog.LevelInfo
	}
	return slog.LevelDebug
}

func attributes(fields []zapcore.Field) []any {
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range fields {
		f.AddTo(enc)
	}
	args := make([]any, 0, 2*len(enc.Fields))
	for k, v := range enc.Fields {
		args = append(args, k, v)
	}
	return args
}

func (b bridge) Enabled(l zapcore.Level) bool {
	return b.log.Enabled(context.Background(), level(l))
}
func (b bridge) With(f []zapcore.Field) zapcore.Core { return bridge{b.log.With(attributes(f)...)} }
func (b bridge) Sync() error                         { return nil }
func (b bridge) Check(e zapcore.Entry, c *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if b.Enabled(e.Level) {
		return c.AddCore(e, b)
	}
	return c
}
func (b bridge) Write(e zapcore.Entry, f []zapcore.Field) error {
	b.log.Log(context.Background(), level(e.Level), e.Message, attributes(f)...)
	return nil
}

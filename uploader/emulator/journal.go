package emulator

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// journal is the append-only file of changes: one line of JSON for each, a
// list of records that take effect together.
type journal struct {
	file *os.File
	buf  bytes.Buffer
}

// openJournal replays the journal at path into apply and leaves it ready for
// more. A last line without its line feed was being written when the process
// died; it is cut off. Any other line that cannot be read is an error: the
// library behind it would be another one.
func openJournal(path string, apply func([]record)) (*journal, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("emulator: %w", err)
	}
	whole, err := replay(f, apply)
	if err == nil {
		err = f.Truncate(whole)
	}
	if err == nil {
		_, err = f.Seek(whole, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("emulator: journal %s: %w", path, err)
	}
	return &journal{file: f}, nil
}

// replay gives the length of the journal's whole lines.
func replay(r io.Reader, apply func([]record)) (whole int64, err error) {
	lines := bufio.NewReaderSize(r, 1<<20)
	for number := 1; ; number++ {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return whole, nil
		}
		if err != nil {
			return 0, err
		}
		var records []record
		if err := json.Unmarshal(line, &records); err != nil {
			return 0, fmt.Errorf("line %d: %w", number, err)
		}
		apply(records)
		whole += int64(len(line))
	}
}

// append writes one change. After an error the file ends where it ended before,
// so that the next change does not follow half a line.
func (j *journal) append(records []record) error {
	j.buf.Reset()
	if err := json.NewEncoder(&j.buf).Encode(records); err != nil {
		return fmt.Errorf("emulator: journal: %w", err)
	}
	n, err := j.file.Write(j.buf.Bytes())
	if err == nil {
		return nil
	}
	end, seekErr := j.file.Seek(int64(-n), io.SeekCurrent)
	if seekErr == nil {
		seekErr = j.file.Truncate(end)
	}
	return fmt.Errorf("emulator: journal: %w", errors.Join(err, seekErr))
}

func (j *journal) close() error { return j.file.Close() }

// Verifies an export of the audit trail with Go's own sumdb/note and sumdb/tlog, so that
// the gateway's log is held against an implementation that nobody here wrote.
//
//	verify FOLDER VERIFIER-KEY...
//
// FOLDER holds a folder for each log, with the files that c2sp.org/tlog-tiles names. Of
// each log there must be a verifier key. Everything is read: checkpoint, tiles, entries.
package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8

// A log is a folder with the files of a log.
type log struct {
	folder string
	origin string
	tree   tlog.Tree
}

// Height, ReadTiles and SaveTiles make a log a tlog.TileReader.
func (l log) Height() int { return height }

func (l log) SaveTiles([]tlog.Tile, [][]byte) {}

func (l log) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var contents [][]byte
	for _, tile := range tiles {
		// The last tile of a level is there only as wide as the log's size makes it.
		wanted := tile.W
		hashes := l.tree.N >> (height * uint(tile.L))
		if left := hashes - tile.N<<height; left < int64(tile.W) {
			return nil, fmt.Errorf("tile %v is beyond the log", tile)
		} else if left < 1<<height {
			tile.W = int(left)
		} else {
			tile.W = 1 << height
		}
		content, err := os.ReadFile(filepath.Join(l.folder, path(tile, strconv.Itoa(tile.L))))
		if err != nil {
			return nil, err
		}
		if len(content) != tile.W*tlog.HashSize {
			return nil, fmt.Errorf("%v has %d bytes", tile, len(content))
		}
		contents = append(contents, content[:wanted*tlog.HashSize])
	}
	return contents, nil
}

// path is the specification's path of a tile: Go's own without the height.
func path(tile tlog.Tile, level string) string {
	parts := strings.SplitN(tile.Path(), "/", 4)
	return "tile/" + level + "/" + parts[3]
}

// open reads and verifies the checkpoint.
func open(folder string, verifiers note.Verifiers) (log, error) {
	text, err := os.ReadFile(filepath.Join(folder, "checkpoint"))
	if err != nil {
		return log{}, err
	}
	signed, err := note.Open(text, verifiers)
	if err != nil {
		return log{}, err
	}
	lines := strings.Split(signed.Text, "\n")
	if len(lines) < 4 {
		return log{}, errors.New("the checkpoint has too few lines")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return log{}, err
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || len(root) != tlog.HashSize {
		return log{}, errors.New("the checkpoint's root is none")
	}
	if signed.Sigs[0].Name != lines[0] {
		return log{}, errors.New("another log's key has signed")
	}
	l := log{folder: folder, origin: lines[0], tree: tlog.Tree{N: size}}
	copy(l.tree.Hash[:], root)
	return l, nil
}

// entries calls visit with each entry of the bundles.
func (l log) entries(visit func(index int64, entry []byte) error) error {
	for n := int64(0); n<<height < l.tree.N; n++ {
		tile := tlog.Tile{H: height, L: 0, N: n, W: 1 << height}
		if left := l.tree.N - n<<height; left < 1<<height {
			tile.W = int(left)
		}
		name := path(tile, "entries")
		bundle, err := os.ReadFile(filepath.Join(l.folder, name))
		if err != nil {
			return err
		}
		for i := int64(0); i < int64(tile.W); i++ {
			if len(bundle) < 2 || len(bundle)-2 < int(binary.BigEndian.Uint16(bundle)) {
				return fmt.Errorf("%s ends within entry %d", name, i)
			}
			end := 2 + int(binary.BigEndian.Uint16(bundle))
			if err := visit(n<<height+i, bundle[2:end]); err != nil {
				return err
			}
			bundle = bundle[end:]
		}
		if len(bundle) != 0 {
			return fmt.Errorf("%s goes on after its last entry", name)
		}
	}
	return nil
}

// verify reads everything, and gives the log's first entry.
func (l log) verify() ([]byte, error) {
	// This reader checks every tile against the checkpoint's root.
	reader := tlog.TileHashReader(l.tree, l)
	root, err := tlog.TreeHash(l.tree.N, reader)
	if err != nil {
		return nil, err
	}
	if root != l.tree.Hash {
		return nil, errors.New("the tiles make another root")
	}
	var first []byte
	var indexes []int64
	var hashes []tlog.Hash
	check := func() error {
		proven, err := reader.ReadHashes(indexes)
		if err != nil {
			return err
		}
		for i, hash := range proven {
			if hash != hashes[i] {
				return fmt.Errorf("entry with the hash %v is not the one in the tree", hashes[i])
			}
		}
		indexes, hashes = nil, nil
		return nil
	}
	err = l.entries(func(index int64, entry []byte) error {
		if index == 0 {
			first = append(first, entry...)
		}
		if !json.Valid(entry) {
			return fmt.Errorf("entry %d is not JSON", index)
		}
		indexes = append(indexes, tlog.StoredHashIndex(0, index))
		hashes = append(hashes, sha256.Sum256(append([]byte{0}, entry...)))
		if len(indexes) == 1<<height {
			return check()
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return first, check()
}

// verifyAll verifies the logs, and that each one begins with the end of the one before.
func verifyAll(folder string, keys []string) (int64, error) {
	var verifiers []note.Verifier
	for _, key := range keys {
		verifier, err := note.NewVerifier(key)
		if err != nil {
			return 0, err
		}
		verifiers = append(verifiers, verifier)
	}
	folders, err := filepath.Glob(filepath.Join(folder, "*", "checkpoint"))
	if err != nil || len(folders) == 0 {
		return 0, fmt.Errorf("%s: no log is here", folder)
	}
	sort.Strings(folders)
	var records int64
	var before *log
	for _, checkpoint := range folders {
		l, err := open(filepath.Dir(checkpoint), note.VerifierList(verifiers...))
		if err != nil {
			return 0, fmt.Errorf("%s: %w", checkpoint, err)
		}
		// Retention leaves the checkpoints of the oldest logs.
		if _, err := os.Stat(filepath.Join(l.folder, "tile")); records == 0 && os.IsNotExist(err) {
			before = &l
			continue
		}
		first, err := l.verify()
		if err != nil {
			return 0, fmt.Errorf("%s: %w", l.origin, err)
		}
		var start struct {
			Log struct {
				Origin   string
				Previous *struct {
					Origin, RootHash string
					Size             int64
				}
			}
		}
		if err := json.Unmarshal(first, &start); err != nil {
			return 0, fmt.Errorf("%s: %w", l.origin, err)
		}
		if start.Log.Origin != l.origin {
			return 0, fmt.Errorf("%s: it begins as %s", l.origin, start.Log.Origin)
		}
		if previous := start.Log.Previous; before != nil &&
			(previous == nil || previous.Origin != before.origin || previous.Size != before.tree.N ||
				previous.RootHash != before.tree.Hash.String()) {
			return 0, fmt.Errorf("%s does not begin with the end of %s", l.origin, before.origin)
		}
		records += l.tree.N
		before = &l
	}
	return records, nil
}

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: verify FOLDER VERIFIER-KEY...")
		os.Exit(64)
	}
	records, err := verifyAll(os.Args[1], os.Args[2:])
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(records, "records hold")
}

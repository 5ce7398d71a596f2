// Devices of status-go's encryption layer, driven by lines of JSON. README.md beside this file says how to build it.
package main

import (
	"bufio"
	"crypto/ecdsa"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"time"

	"github.com/golang/protobuf/proto"
	_ "github.com/mutecomm/go-sqlcipher/v4"
	"go.uber.org/zap"

	"github.com/status-im/status-go/eth-node/crypto"
	"github.com/status-im/status-go/protocol/datasync"
	"github.com/status-im/status-go/protocol/encryption"
)

// group stands for a community.
var group = []byte("group")

type device struct {
	db           *sql.DB
	secret       *ecdsa.PrivateKey
	installation string
	layer        *encryption.Protocol
}

// request and answer hold bytes as lower-case hex.
type request struct {
	Op           string `json:"op"`
	Device       int    `json:"device"`
	Secret       string `json:"secret"`
	Installation string `json:"installation"`
	Person       string `json:"person"`
	Bytes        string `json:"bytes"`
	Times        int    `json:"times"`
	Ms           int64  `json:"ms"`
	Confirm      bool   `json:"confirm"`
}

type answer struct {
	Device  int      `json:"device"`
	Bytes   string   `json:"bytes"`
	Bodies  []string `json:"bodies"`
	Seconds float64  `json:"seconds"`
	Error   string   `json:"error,omitempty"`
}

type workshop struct {
	tables  []string
	devices []*device
}

// tablesOf reads how the layer's tables are made, in the order in which status-go makes them. One step of it lies
// elsewhere.
func tablesOf(checkout string) ([]string, error) {
	own, err := filepath.Glob(filepath.Join(checkout, "protocol/encryption/migrations/sqlite/*.up.sql"))
	if err != nil {
		return nil, err
	}
	if len(own) == 0 {
		return nil, errors.New("no checkout of status-go: " + checkout)
	}
	files := append(own, filepath.Join(checkout, "protocol/migrations/sqlite/1698137562_fix_encryption_key_id.up.sql"))
	sort.Slice(files, func(i, j int) bool { return filepath.Base(files[i]) < filepath.Base(files[j]) })
	tables := make([]string, len(files))
	for n, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		tables[n] = string(text)
	}
	return tables, nil
}

// open makes a store in memory with the tables that the layer expects.
func (w *workshop) open() (*sql.DB, error) {
	db, err := sql.Open("sqlite3", ":memory:")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	for _, text := range w.tables {
		if _, err := db.Exec(text); err != nil {
			return nil, err
		}
	}
	return db, nil
}

func (d *device) start() {
	d.layer = encryption.New(d.db, d.installation, zap.NewNop())
}

func (w *workshop) make(secret []byte, installation string) (int, error) {
	key, err := crypto.ToECDSA(secret)
	if err != nil {
		return 0, err
	}
	db, err := w.open()
	if err != nil {
		return 0, err
	}
	made := &device{db: db, secret: key, installation: installation}
	made.start()
	w.devices = append(w.devices, made)
	return len(w.devices) - 1, nil
}

func (d *device) bundle() ([]byte, error) {
	bundle, err := d.layer.GetBundle(d.secret)
	if err != nil {
		return nil, err
	}
	return proto.Marshal(bundle)
}

func (d *device) processBundle(raw []byte) error {
	bundle := &encryption.Bundle{}
	if err := proto.Unmarshal(raw, bundle); err != nil {
		return err
	}
	_, err := d.layer.ProcessPublicBundle(d.secret, bundle)
	return err
}

func (d *device) build(op string, to *ecdsa.PublicKey, payload []byte) ([]byte, error) {
	var spec *encryption.ProtocolMessageSpec
	var err error
	switch op {
	case "build":
		spec, err = d.layer.BuildEncryptedMessage(d.secret, to, payload)
	case "build_dh":
		spec, err = d.layer.BuildDHMessage(d.secret, to, payload)
	case "build_group":
		spec, err = d.layer.BuildHashRatchetMessage(group, payload)
	case "build_group_key":
		spec, err = d.groupKey(to, payload)
	default:
		spec, err = d.layer.BuildPublicMessage(d.secret, payload)
	}
	if err != nil {
		return nil, err
	}
	return proto.Marshal(spec.Message)
}

// groupKey sends a community's key beside a text of a session.
func (d *device) groupKey(to *ecdsa.PublicKey, payload []byte) (*encryption.ProtocolMessageSpec, error) {
	key, err := d.layer.GenerateHashRatchetKey(group)
	if err != nil {
		return nil, err
	}
	keys := []*encryption.HashRatchetKeyCompatibility{key}
	return d.layer.BuildHashRatchetKeyExchangeMessageWithPayload(d.secret, to, group, keys, payload)
}

// handle opens a message. Confirmed, its key is let go, so that it opens once. The layer offers that; of what is above
// it in status-go nothing asks for it.
func (d *device) handle(sender *ecdsa.PublicKey, raw []byte, confirm bool) ([]byte, error) {
	message := &encryption.ProtocolMessage{}
	if err := proto.Unmarshal(raw, message); err != nil {
		return nil, err
	}
	id := crypto.Keccak256(raw)
	opened, err := d.layer.HandleMessage(d.secret, sender, message, id)
	if err != nil {
		return nil, err
	}
	if confirm {
		if err := d.layer.ConfirmMessageProcessed(id); err != nil {
			return nil, err
		}
	}
	return opened.DecryptedMessage, nil
}

// unwrap takes the texts out of a payload of data sync.
func unwrap(payload []byte) ([]string, error) {
	found, err := datasync.New(nil, nil, false, zap.NewNop()).Unwrap(nil, payload)
	if err != nil {
		return nil, err
	}
	bodies := []string{}
	for _, message := range found.Messages {
		bodies = append(bodies, hex.EncodeToString(message.Body))
	}
	return bodies, nil
}

// age makes the device's own prekeys older: its clock is the machine's.
func (d *device) age(ms int64) error {
	_, err := d.db.Exec("UPDATE bundles SET timestamp = timestamp - ? WHERE private_key IS NOT NULL", ms*1_000_000)
	return err
}

// time measures what a text costs: built by the first device, handled by the second. With the op "time_turns" each
// goes the other way.
func (w *workshop) time(op string, times int, payload []byte, confirm bool) (float64, error) {
	pair := w.devices[:2]
	begun := time.Now()
	for n := 0; n < times; n++ {
		from, to := pair[0], pair[1]
		if op == "time_turns" && n%2 == 1 {
			from, to = to, from
		}
		raw, err := from.build("build", &to.secret.PublicKey, payload)
		if err != nil {
			return 0, err
		}
		if _, err := to.handle(&from.secret.PublicKey, raw, confirm); err != nil {
			return 0, err
		}
	}
	return time.Since(begun).Seconds(), nil
}

func (w *workshop) answer(asked request) (given answer, err error) {
	// What is asked by a test must not end the process: some inputs make the layer panic.
	defer func() {
		if problem := recover(); problem != nil {
			err = fmt.Errorf("panic: %v", problem)
		}
	}()
	raw, err := hex.DecodeString(asked.Bytes)
	if err != nil {
		return given, err
	}
	if asked.Op == "new" {
		secret, err := hex.DecodeString(asked.Secret)
		if err != nil {
			return given, err
		}
		given.Device, err = w.make(secret, asked.Installation)
		return given, err
	}
	if asked.Op == "unwrap" {
		given.Bodies, err = unwrap(raw)
		return given, err
	}
	var person *ecdsa.PublicKey
	if asked.Person != "" {
		compressed, err := hex.DecodeString(asked.Person)
		if err != nil {
			return given, err
		}
		if person, err = crypto.DecompressPubkey(compressed); err != nil {
			return given, err
		}
	}
	d := w.devices[asked.Device]
	var made []byte
	switch asked.Op {
	case "bundle":
		made, err = d.bundle()
	case "process_bundle":
		err = d.processBundle(raw)
	case "enable":
		err = d.layer.EnableInstallation(&d.secret.PublicKey, asked.Installation)
	case "build", "build_dh", "build_public", "build_group", "build_group_key":
		made, err = d.build(asked.Op, person, raw)
	case "handle":
		made, err = d.handle(person, raw, asked.Confirm)
	case "restart":
		d.start()
	case "age":
		err = d.age(asked.Ms)
	case "time", "time_turns":
		given.Seconds, err = w.time(asked.Op, asked.Times, raw, asked.Confirm)
	default:
		err = errors.New("no such op: " + asked.Op)
	}
	given.Bytes = hex.EncodeToString(made)
	return given, err
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: kexkit-status-go CHECKOUT-OF-STATUS-GO")
		os.Exit(2)
	}
	tables, err := tablesOf(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	w := &workshop{tables: tables}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 16<<20)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var asked request
		given, err := answer{}, json.Unmarshal(lines.Bytes(), &asked)
		if err == nil {
			given, err = w.answer(asked)
		}
		if err != nil {
			given.Error = err.Error()
		}
		if err := out.Encode(given); err != nil {
			os.Exit(1)
		}
	}
}

package key

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/google/go-tpm/tpm2/transport/linuxtpm"
	"github.com/google/go-tpm/tpm2/transport/linuxudstpm"
)

const kindTPM = "tpm"

// tpmRoot has a random key that a TPM 2 seals under its storage root key (TCG TPM v2.0 Provisioning Guidance, 7.5.1), by a
// policy that may ask for the values of registers. Commands that carry the key are encrypted between us and the TPM, so
// that nobody who listens on the bus reads it. Against an interposer that answers as the TPM itself this does not help.
type tpmRoot struct {
	cfg     TPM
	random  io.Reader
	handout Handout
}

// Describe says what it is.
func (t *tpmRoot) Describe() Description {
	where := "the TPM at " + t.cfg.Device
	if len(t.cfg.PCRs) > 0 {
		where += " with PCRs " + joinInts(t.cfg.PCRs)
	}
	return Description{Kind: kindTPM, Where: where}
}

// Wrap makes a new key, lets the TPM seal it, and writes its words.
func (t *tpmRoot) Wrap(_ context.Context, plain, aad []byte) (Envelope, error) {
	kek, err := fresh(t.random)
	if err != nil {
		return Envelope{}, err
	}
	defer kek.wipe()
	e := Envelope{Kind: kindTPM, Parameters: map[string]string{"pcrs": joinInts(t.cfg.PCRs)}}
	err = t.with(func(device transport.TPM, parent tpm2.NamedHandle, public tpm2.TPMTPublic) error {
		created, err := sealTPM(device, parent, public, kek.bytes(), t.cfg.PCRs)
		if err == nil {
			e.Parameters["private"] = base64.StdEncoding.EncodeToString(created.OutPrivate.Buffer)
			e.Parameters["public"] = base64.StdEncoding.EncodeToString(tpm2.Marshal(created.OutPublic))
		}
		return err
	})
	if err != nil {
		return Envelope{}, err
	}
	if t.handout.Words, err = wordsOf(kek); err != nil {
		return Envelope{}, err
	}
	return wrapWith(t.random, kek, e, plain, aad)
}

// Unwrap lets the TPM unseal the key.
func (t *tpmRoot) Unwrap(_ context.Context, e Envelope, aad []byte) ([]byte, error) {
	if err := expect(e, kindTPM); err != nil {
		return nil, err
	}
	private, err1 := base64.StdEncoding.Strict().DecodeString(e.Parameters["private"])
	encoded, err2 := base64.StdEncoding.Strict().DecodeString(e.Parameters["public"])
	pcrs, err3 := splitInts(e.Parameters["pcrs"])
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, fmt.Errorf("%w: what the TPM sealed is not readable", ErrDamaged)
	}
	sealed, err := tpm2.Unmarshal[tpm2.TPM2BPublic](encoded)
	if err != nil {
		return nil, fmt.Errorf("%w: what the TPM sealed is not readable", ErrDamaged)
	}
	var kek material
	err = t.with(func(device transport.TPM, parent tpm2.NamedHandle, public tpm2.TPMTPublic) error {
		data, err := unsealTPM(device, parent, public, tpm2.TPM2BPrivate{Buffer: private}, *sealed, pcrs)
		if err == nil {
			kek, err = take(data)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	defer kek.wipe()
	return unwrapWith(kek, e, aad)
}

// Handout gives the words of the new key, once.
func (t *tpmRoot) Handout() Handout {
	h := t.handout
	t.handout = Handout{}
	return h
}

// Settle has nothing to do: the TPM keeps nothing of ours.
func (t *tpmRoot) Settle(bool) error { return nil }

// with opens the device and makes the storage root key, which a TPM makes equal each time.
func (t *tpmRoot) with(use func(transport.TPM, tpm2.NamedHandle, tpm2.TPMTPublic) error) error {
	device, err := t.open()
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: there is no TPM at %s; name its device (key.root.tpm.device), or restore from the recovery words with: gatehouse key recover", ErrLost, t.cfg.Device)
	}
	if err != nil {
		return fmt.Errorf("%w: open the TPM at %s (the user needs the group tss): %w", ErrUnavailable, t.cfg.Device, err)
	}
	defer func() { _ = device.Close() }()
	primary, err := tpm2.CreatePrimary{PrimaryHandle: tpm2.TPMRHOwner, InPublic: tpm2.New2B(tpm2.ECCSRKTemplate)}.Execute(device)
	if err != nil {
		return fmt.Errorf("%w: the TPM at %s gives no storage root key: %w", ErrUnavailable, t.cfg.Device, err)
	}
	defer func() { _, _ = tpm2.FlushContext{FlushHandle: primary.ObjectHandle}.Execute(device) }()
	public, err := primary.OutPublic.Contents()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return use(device, tpm2.NamedHandle{Handle: primary.ObjectHandle, Name: primary.Name}, *public)
}

func (t *tpmRoot) open() (transport.TPMCloser, error) {
	info, err := os.Stat(t.cfg.Device)
	if err != nil {
		return nil, err
	}
	if info.Mode()&fs.ModeSocket != 0 {
		return linuxudstpm.Open(t.cfg.Device)
	}
	return linuxtpm.Open(t.cfg.Device)
}

// sealTPM seals data under the parent, for a policy.
func sealTPM(device transport.TPM, parent tpm2.NamedHandle, public tpm2.TPMTPublic, data []byte, pcrs []int) (*tpm2.CreateResponse, error) {
	policy, err := policyDigest(device, pcrs)
	if err != nil {
		return nil, err
	}
	created, err := tpm2.Create{
		ParentHandle: tpm2.AuthHandle{Handle: parent.Handle, Name: parent.Name,
			Auth: tpm2.HMAC(tpm2.TPMAlgSHA256, 16, tpm2.AESEncryption(128, tpm2.EncryptIn), tpm2.Salted(parent.Handle, public))},
		InSensitive: tpm2.TPM2BSensitiveCreate{Sensitive: &tpm2.TPMSSensitiveCreate{
			Data: tpm2.NewTPMUSensitiveCreate(&tpm2.TPM2BSensitiveData{Buffer: data})}},
		InPublic: tpm2.New2B(tpm2.TPMTPublic{Type: tpm2.TPMAlgKeyedHash, NameAlg: tpm2.TPMAlgSHA256, AuthPolicy: policy,
			ObjectAttributes: tpm2.TPMAObject{FixedTPM: true, FixedParent: true, NoDA: true}}),
	}.Execute(device)
	if err != nil {
		return nil, fmt.Errorf("%w: the TPM does not seal: %w", ErrUnavailable, err)
	}
	return created, nil
}

// policyDigest is what must hold when the key is unsealed.
func policyDigest(device transport.TPM, pcrs []int) (tpm2.TPM2BDigest, error) {
	session, done, err := tpm2.PolicySession(device, tpm2.TPMAlgSHA256, 16, tpm2.Trial())
	if err != nil {
		return tpm2.TPM2BDigest{}, fmt.Errorf("%w: the TPM gives no session: %w", ErrUnavailable, err)
	}
	defer func() { _ = done() }()
	if err := demand(device, session.Handle(), pcrs); err != nil {
		return tpm2.TPM2BDigest{}, fmt.Errorf("%w: the TPM has no PCRs %s of SHA-256: %w", ErrUnavailable, joinInts(pcrs), err)
	}
	digest, err := tpm2.PolicyGetDigest{PolicySession: session.Handle()}.Execute(device)
	if err != nil {
		return tpm2.TPM2BDigest{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return digest.PolicyDigest, nil
}

// demand puts the registers into a policy. Without registers the policy is empty and the TPM itself is all that counts.
func demand(device transport.TPM, session tpm2.TPMISHPolicy, pcrs []int) error {
	if len(pcrs) == 0 {
		_, err := tpm2.PolicyAuthValue{PolicySession: session}.Execute(device)
		return err
	}
	numbers := make([]uint, len(pcrs))
	for i, n := range pcrs {
		numbers[i] = uint(n)
	}
	_, err := tpm2.PolicyPCR{PolicySession: session, Pcrs: tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{
		{Hash: tpm2.TPMAlgSHA256, PCRSelect: tpm2.PCClientCompatible.PCRs(numbers...)}}}}.Execute(device)
	return err
}

// unsealTPM loads what was sealed and asks for it under its policy.
func unsealTPM(device transport.TPM, parent tpm2.NamedHandle, public tpm2.TPMTPublic, private tpm2.TPM2BPrivate, sealed tpm2.TPM2BPublic, pcrs []int) ([]byte, error) {
	loaded, err := tpm2.Load{ParentHandle: parent, InPrivate: private, InPublic: sealed}.Execute(device)
	if err != nil {
		return nil, fmt.Errorf("%w: it was sealed by another TPM, or this one was cleared; restore from the recovery words with: gatehouse key recover (%w)", ErrWrong, err)
	}
	defer func() { _, _ = tpm2.FlushContext{FlushHandle: loaded.ObjectHandle}.Execute(device) }()
	session := tpm2.Policy(tpm2.TPMAlgSHA256, 16, func(device transport.TPM, session tpm2.TPMISHPolicy, _ tpm2.TPM2BNonce) error {
		return demand(device, session, pcrs)
	}, tpm2.AESEncryption(128, tpm2.EncryptOut), tpm2.Salted(parent.Handle, public))
	out, err := tpm2.Unseal{ItemHandle: tpm2.AuthHandle{Handle: loaded.ObjectHandle, Name: loaded.Name, Auth: session}}.Execute(device)
	switch {
	case errors.Is(err, tpm2.TPMRCPolicyFail) || errors.Is(err, tpm2.TPMRCPCRChanged):
		return nil, fmt.Errorf("%w: the PCRs %s have changed since the key was sealed (an update of firmware or boot loader, or an attack on them); when you know why, restore from the recovery words with: gatehouse key recover", ErrWrong, joinInts(pcrs))
	case err != nil:
		return nil, fmt.Errorf("%w: the TPM does not unseal: %w", ErrUnavailable, err)
	}
	return out.OutData.Buffer, nil
}

func joinInts(list []int) string {
	text := make([]string, len(list))
	for i, n := range list {
		text[i] = strconv.Itoa(n)
	}
	return strings.Join(text, ",")
}

func splitInts(text string) (list []int, err error) {
	if text == "" {
		return nil, nil
	}
	for field := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(field)
		if err != nil || n < 0 || n > 23 {
			return nil, errors.New("it names no PCRs")
		}
		list = append(list, n)
	}
	return list, nil
}

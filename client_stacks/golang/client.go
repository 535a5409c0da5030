// An MQTT 3.1.1 client as a Go user's first one: crypto/tls, as in Paho's, k6 and Telegraf.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
)

type said struct {
	Connection int    `json:"connection"`
	Library    string `json:"library"`
	Resumed    bool   `json:"resumed"`
	Connack    int    `json:"connack"`
	Error      string `json:"error"`
}

func text(value string) []byte {
	return append([]byte{byte(len(value) >> 8), byte(len(value))}, value...)
}

func connectPacket(id string) []byte {
	flags, payload := byte(2), text(id)
	if user, set := os.LookupEnv("MQTT_USERNAME"); set {
		flags, payload = flags|0x80, append(payload, text(user)...)
	}
	if password, set := os.LookupEnv("MQTT_PASSWORD"); set {
		flags, payload = flags|0x40, append(payload, text(password)...)
	}
	body := append(append(text("MQTT"), 4, flags, 0, 60), payload...)
	length := []byte{byte(len(body))}
	if len(body) > 127 {
		length = []byte{byte(len(body)&0x7f | 0x80), byte(len(body) >> 7)}
	}
	return append(append([]byte{0x10}, length...), body...)
}

func connect(address string, config *tls.Config, id string, seen *said) error {
	connection, err := tls.Dial("tcp", address, config)
	if err != nil {
		return err
	}
	defer connection.Close()
	seen.Resumed = connection.ConnectionState().DidResume
	if _, err = connection.Write(connectPacket(id)); err != nil {
		return err
	}
	answer := make([]byte, 4)
	if _, err = io.ReadFull(connection, answer); err != nil {
		return err
	}
	if answer[0] != 0x20 {
		return errors.New("this is no CONNACK")
	}
	seen.Connack = int(answer[3])
	_, err = connection.Write([]byte{0xe0, 0})
	return err
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}

func main() {
	given := os.Args[1:]
	pem, err := os.ReadFile(given[2])
	must(err)
	config := &tls.Config{ServerName: given[3], MaxVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
	config.RootCAs.AppendCertsFromPEM(pem)
	if given[4] == "told" {
		// The one thing that can be told: it remembers tickets, and no session IDs.
		config.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	}
	if name := os.Getenv("CLIENT_CERT"); name != "" {
		pair, err := tls.LoadX509KeyPair(name, os.Getenv("CLIENT_KEY"))
		must(err)
		config.Certificates = []tls.Certificate{pair}
	}
	connections, err := strconv.Atoi(given[6])
	must(err)
	for number := 1; number <= connections; number++ {
		seen := said{Connection: number, Library: runtime.Version(), Connack: -1}
		if err := connect(net.JoinHostPort(given[0], given[1]), config, given[5], &seen); err != nil {
			seen.Error = err.Error()
		}
		line, err := json.Marshal(seen)
		must(err)
		fmt.Println(string(line))
	}
}

// A client as a user's first one of MQTT.js, which takes its TLS from Node's own tls.
"use strict";
const fs = require("fs");
const mqtt = require("mqtt");
const net = require("net");
const tls = require("tls");
const { version } = require("mqtt/package.json");

const [host, port, ca, serverName, way, clientId, connections] = process.argv.slice(2);
const { MQTT_USERNAME, MQTT_PASSWORD, CLIENT_CERT, CLIENT_KEY } = process.env;
const options = {
  clientId, username: MQTT_USERNAME, password: MQTT_PASSWORD, reconnectPeriod: 0,
  ca: fs.readFileSync(ca), maxVersion: "TLSv1.2",
  cert: CLIENT_CERT && fs.readFileSync(CLIENT_CERT), key: CLIENT_KEY && fs.readFileSync(CLIENT_KEY),
  // The node is asked by its own name at whatever address the client is led to.
  servername: net.isIP(serverName) ? "" : serverName,
  checkServerIdentity: (_, cert) => tls.checkServerIdentity(serverName, cert),
};
let seen = {};

const client = mqtt.connect(`mqtts://${host}:${port}`, options);

function begin(number) {
  seen = { connection: number, resumed: false, connack: -1, error: "",
    library: `MQTT.js ${version}, Node.js ${process.version}, OpenSSL ${process.versions.openssl}` };
}

client.on("connect", (connack) => {
  seen.connack = connack.returnCode;
  seen.resumed = client.stream.isSessionReused();
  if (way === "told") client.options.session = client.stream.getSession(); // this makes it resume
  client.end();
});
client.on("error", (error) => {
  seen.error = error.message;
  if (typeof error.code === "number") seen.connack = error.code; // the node's own, not the system's
});
client.on("close", () => {
  console.log(JSON.stringify(seen));
  if (seen.connection === Number(connections)) return;
  begin(seen.connection + 1);
  client.reconnect();
});

begin(1);

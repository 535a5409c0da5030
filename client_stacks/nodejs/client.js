// An MQTT 3.1.1 client as a Node.js user's first one: what MQTT.js does with tls.connect.
"use strict";
const fs = require("fs");
const net = require("net");
const tls = require("tls");

const [host, port, ca, serverName, way, clientId, connections] = process.argv.slice(2);
const { MQTT_USERNAME, MQTT_PASSWORD, CLIENT_CERT, CLIENT_KEY } = process.env;
let session;

function text(value) {
  const data = Buffer.from(value);
  return Buffer.concat([Buffer.from([data.length >> 8, data.length & 0xff]), data]);
}

function connectPacket() {
  const who = [MQTT_USERNAME, MQTT_PASSWORD].filter((value) => value !== undefined);
  const flags = 2 | (MQTT_USERNAME !== undefined && 0x80) | (MQTT_PASSWORD !== undefined && 0x40);
  const body = Buffer.concat([text("MQTT"), Buffer.from([4, flags, 0, 60]), ...[clientId, ...who].map(text)]);
  const length = body.length < 128 ? [body.length] : [(body.length & 0x7f) | 0x80, body.length >> 7];
  return Buffer.concat([Buffer.from([0x10, ...length]), body]);
}

function connect(number) {
  const seen = { connection: number, resumed: false, connack: -1, error: "",
    library: `Node.js ${process.version}, OpenSSL ${process.versions.openssl}` };
  const socket = tls.connect({
    host, port: Number(port), ca: fs.readFileSync(ca), maxVersion: "TLSv1.2",
    cert: CLIENT_CERT && fs.readFileSync(CLIENT_CERT), key: CLIENT_KEY && fs.readFileSync(CLIENT_KEY),
    servername: net.isIP(serverName) ? "" : serverName,
    checkServerIdentity: (_, cert) => tls.checkServerIdentity(serverName, cert),
    session: way === "told" ? session : undefined, // this, and the next line but three, make it resume
  });
  socket.on("secureConnect", () => {
    seen.resumed = socket.isSessionReused();
    session = socket.getSession();
    socket.write(connectPacket());
  });
  socket.on("data", (data) => {
    seen.connack = data[0] === 0x20 ? data[3] : -1;
    socket.end(Buffer.from([0xe0, 0]));
  });
  socket.on("error", (error) => { seen.error = error.message; });
  socket.on("close", () => {
    console.log(JSON.stringify(seen));
    if (number < Number(connections)) connect(number + 1);
  });
}

connect(1);

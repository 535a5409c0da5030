//! An MQTT 3.1.1 client as a Rust user's first one: rustls, as in rumqttc.
use std::convert::TryFrom;
use std::env;
use std::error::Error;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::{Certificate, ClientConfig, ClientConnection, PrivateKey, RootCertStore, ServerName, Stream};
use rustls_pemfile::Item;

fn text(value: &str) -> Vec<u8> {
    [&(value.len() as u16).to_be_bytes(), value.as_bytes()].concat()
}

fn connect_packet(id: &str) -> Vec<u8> {
    let (mut flags, mut payload) = (2, text(id));
    for (name, flag) in [("MQTT_USERNAME", 0x80), ("MQTT_PASSWORD", 0x40)] {
        if let Ok(value) = env::var(name) {
            flags |= flag;
            payload.extend(text(&value));
        }
    }
    let body = [&text("MQTT")[..], &[4, flags, 0, 60], &payload].concat();
    let mut packet = vec![0x10, body.len() as u8];
    if body.len() > 127 {
        packet = vec![0x10, (body.len() & 0x7f | 0x80) as u8, (body.len() >> 7) as u8];
    }
    [packet, body].concat()
}

fn certificates(path: &str) -> io::Result<Vec<Certificate>> {
    let found = rustls_pemfile::certs(&mut BufReader::new(File::open(path)?))?;
    Ok(found.into_iter().map(Certificate).collect())
}

fn key(path: &str) -> Result<PrivateKey, Box<dyn Error>> {
    let mut file = BufReader::new(File::open(path)?);
    while let Some(item) = rustls_pemfile::read_one(&mut file)? {
        if let Item::RSAKey(key) | Item::PKCS8Key(key) | Item::ECKey(key) = item {
            return Ok(PrivateKey(key));
        }
    }
    Err(format!("there is no key in {path}").into())
}

/// What all connections share, the cache of sessions among it: that is why it resumes by itself.
fn config(ca: &str) -> Result<Arc<ClientConfig>, Box<dyn Error>> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca)? {
        roots.add(&certificate)?;
    }
    let config = ClientConfig::builder()
        .with_safe_default_cipher_suites()
        .with_safe_default_kx_groups()
        .with_protocol_versions(&[&rustls::version::TLS12])?
        .with_root_certificates(roots);
    Ok(Arc::new(match (env::var("CLIENT_CERT"), env::var("CLIENT_KEY")) {
        (Ok(own), Ok(its_key)) => config.with_single_cert(certificates(&own)?, key(&its_key)?)?,
        _ => config.with_no_client_auth(),
    }))
}

/// Connect, CONNECT, CONNACK, DISCONNECT; return CONNACK's code.
fn connect(address: (&str, u16), config: &Arc<ClientConfig>, name: &str, id: &str) -> Result<u8, Box<dyn Error>> {
    let mut tls = ClientConnection::new(Arc::clone(config), ServerName::try_from(name)?)?;
    let mut tcp = TcpStream::connect(address)?;
    let mut stream = Stream::new(&mut tls, &mut tcp);
    stream.write_all(&connect_packet(id))?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer)?;
    if answer[0] != 0x20 {
        return Err("this is no CONNACK".into());
    }
    stream.write_all(&[0xe0, 0])?;
    stream.conn.send_close_notify();
    stream.flush()?;
    Ok(answer[3])
}

fn main() -> Result<(), Box<dyn Error>> {
    let given: Vec<String> = env::args().skip(1).collect();
    let config = config(&given[2])?;
    for number in 1..=given[6].parse()? {
        let (connack, error) = match connect((&given[0], given[1].parse()?), &config, &given[3], &given[5]) {
            Ok(code) => (i16::from(code), String::new()),
            Err(error) => (-1, error.to_string().replace(['\\', '"', '\n'], " ")),
        };
        // Whether it resumed this version tells nobody.
        println!(
            "{{\"connection\": {number}, \"library\": \"rustls {}\", \"resumed\": null, \
             \"connack\": {connack}, \"error\": \"{error}\"}}",
            env!("RUSTLS_VERSION")
        );
    }
    Ok(())
}

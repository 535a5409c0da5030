//! Tells the client which rustls it is built of: the library itself does not.
fn main() {
    let lock = std::fs::read_to_string("Cargo.lock").expect("cargo writes it before it builds");
    let version = lock
        .split("name = \"rustls\"\nversion = \"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .expect("rustls is what it depends on");
    println!("cargo:rustc-env=RUSTLS_VERSION={version}");
}

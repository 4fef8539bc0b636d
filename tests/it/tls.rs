//! Does TLS do what MLflow's variables say? Real handshakes with certificates of `tests/data/tls`.

use serde_json::json;

use crate::stub::{Stub, certificate};
use crate::world::World;

fn world_trusting(name: &str) -> World {
    let mut world = World::with_commit();
    let file = certificate(name);
    world.set("MLFLOW_TRACKING_SERVER_CERT_PATH", file.to_str().unwrap());
    world
}

#[track_caller]
fn assert_shown(world: &World, row: &str) {
    let status = world.tracemark(&["status"]).ok();
    assert!(status.contains(row), "{status}");
}

#[test]
fn a_server_with_a_certificate_of_our_own_ca_is_trusted_by_every_daemon_from_then_on() {
    let stub = Stub::with_certificate("server", &json!({}));
    let mut world = world_trusting("ca.pem");
    world.tracemark(&["up", "--store", &stub.url()]).ok();
    let file = certificate("ca.pem");
    assert_eq!(world.status()["server_cert"], file.to_str().unwrap());
    let row = format!("way     trusts the certificates in {}\n", file.display());
    assert_shown(&world, &row);
    world.set("MLFLOW_TRACKING_SERVER_CERT_PATH", "");
    world.stop_daemon();
    world.write("app.py", "print(2)\n");
    world.tracemark(&["active"]).ok();
    // The name that the certificate is made for, not only the address.
    let by_name = stub.url().replace("127.0.0.1", "localhost");
    world.set(
        "MLFLOW_TRACKING_SERVER_CERT_PATH",
        certificate("ca.pem").to_str().unwrap(),
    );
    world.tracemark(&["up", "--store", &by_name]).ok();
}

#[test]
fn an_app_that_is_told_of_the_server_is_told_of_its_certificate() {
    let stub = Stub::with_certificate("server", &json!({}));
    let mut world = world_trusting("ca.pem");
    world.tracemark(&["up", "--store", &stub.url()]).ok();
    let name = "MLFLOW_TRACKING_SERVER_CERT_PATH";
    world.set(name, "");
    let env = world.exec_env();
    assert_eq!(env["MLFLOW_TRACKING_URI"], stub.url());
    assert_eq!(env[name], certificate("ca.pem").to_str().unwrap());
    world.set("MLFLOW_TRACKING_URI", &stub.url());
    assert_eq!(world.exec_env()[name], "");
}

#[test]
fn the_bundle_of_pythons_requests_library_counts_too() {
    let stub = Stub::with_certificate("server", &json!({}));
    let mut world = World::with_commit();
    world.set(
        "REQUESTS_CA_BUNDLE",
        certificate("ca.pem").to_str().unwrap(),
    );
    world.tracemark(&["up", "--store", &stub.url()]).ok();
}

#[test]
fn certificates_are_not_spoken_of_where_none_is_looked_at() {
    let stub = Stub::new(&json!({}));
    let mut world = World::with_commit();
    let bundle = certificate("ca.pem");
    for (name, value) in [
        ("CURL_CA_BUNDLE", bundle.to_str().unwrap()),
        ("REQUESTS_CA_BUNDLE", bundle.to_str().unwrap()),
        ("MLFLOW_TRACKING_INSECURE_TLS", "true"),
    ] {
        world.set(name, value);
        let said = world.tracemark(&["up", "--store", &stub.url()]).ok();
        assert!(!said.contains("certificate"), "{said}");
        let status = world.status();
        assert_eq!(status["server_cert"], serde_json::Value::Null);
        assert_eq!(status["insecure_tls"], false);
        let text = world.tracemark(&["status"]).ok();
        assert!(!text.contains("  way "), "{text}");
        world.set(name, "");
    }
}

#[test]
fn an_unknown_certificate_is_refused_unless_nothing_is_to_be_checked() {
    let stub = Stub::with_certificate("server", &json!({}));
    let mut world = World::with_commit();
    let said = world.tracemark(&["up", "--store", &stub.url()]);
    assert_eq!(said.code, Some(6), "{said:?}");
    assert!(said.stderr.contains("no trusted connection"), "{said:?}");
    assert!(
        said.stderr
            .contains("try: set MLFLOW_TRACKING_SERVER_CERT_PATH"),
        "{said:?}"
    );
    world.set("MLFLOW_TRACKING_INSECURE_TLS", "True");
    world.tracemark(&["up", "--store", &stub.url()]).ok();
    let shown = |row: &str| assert_shown(&world, row);
    assert_eq!(world.status()["insecure_tls"], true);
    shown("way     its certificate is not checked\n");
    world.tracemark(&["up", "--allow-http-credentials"]).ok();
    assert_eq!(world.status()["allow_http_credentials"], true);
    shown("way     its certificate is not checked, credentials over plain http allowed\n");
    world.set(
        "MLFLOW_TRACKING_SERVER_CERT_PATH",
        certificate("ca.pem").to_str().unwrap(),
    );
    world
        .tracemark(&["up", "--store", &stub.url()])
        .failed(3, "exclude each other");
}

#[test]
fn an_expired_certificate_is_said_to_be_expired() {
    let stub = Stub::with_certificate("expired", &json!({}));
    let world = world_trusting("ca.pem");
    let said = world.tracemark(&["up", "--store", &stub.url()]);
    assert_eq!(said.code, Some(6), "{said:?}");
    assert!(
        said.stderr.contains("the certificate has expired")
            && said.stderr.contains("renews its certificate"),
        "{said:?}"
    );
}

#[test]
fn a_certificate_that_expires_one_day_is_told_by_status_until_it_is_renewed() {
    let stub = Stub::with_certificate("server", &json!({}));
    let (url, again) = (stub.url(), json!({ "port": stub.port() }));
    let world = world_trusting("ca.pem");
    world.tracemark(&["up", "--store", &url]).ok();
    drop(stub);
    let stub = Stub::with_certificate("expired", &again);
    world.write("app.py", "print(2)\n");
    world.is_refused("the certificate has expired");
    let status = world.tracemark(&["status"]).ok();
    let why = format!(
        "why     no trusted connection to the MLflow server at {url}: the certificate has expired\n"
    );
    assert!(
        status.contains(&why) && status.contains("try     the server's owner renews"),
        "{status}"
    );
    drop(stub);
    let _renewed = Stub::with_certificate("server", &again);
    world.tracemark(&["active", "--timeout", "60"]).ok();
}

#[test]
fn a_certificate_that_calls_itself_a_ca_is_explained() {
    let stub = Stub::with_certificate("selfca", &json!({}));
    let world = world_trusting("selfca.pem");
    let said = world.tracemark(&["up", "--store", &stub.url()]);
    assert!(
        said.code == Some(6) && said.stderr.contains("basicConstraints"),
        "{said:?}"
    );
}

#[test]
fn a_server_that_asks_for_our_certificate_gets_it() {
    let asks = json!({"client_ca": certificate("ca.pem")});
    let stub = Stub::with_certificate("server", &asks);
    let mut world = world_trusting("ca.pem");
    let said = world.tracemark(&["up", "--store", &stub.url()]);
    assert_eq!(said.code, Some(6), "{said:?}");
    assert!(
        said.stderr.contains("MLFLOW_TRACKING_CLIENT_CERT_PATH"),
        "{said:?}"
    );
    world.set(
        "MLFLOW_TRACKING_CLIENT_CERT_PATH",
        certificate("client.pem").to_str().unwrap(),
    );
    world.tracemark(&["up", "--store", &stub.url()]).ok();
}

#[test]
fn a_certificate_file_that_is_none_is_named() {
    let stub = Stub::with_certificate("server", &json!({}));
    for (file, cause) in [
        ("make.sh", "no certificate in it"),
        ("nowhere.pem", "No such file"),
    ] {
        let world = world_trusting(file);
        world
            .tracemark(&["up", "--store", &stub.url()])
            .failed(3, cause);
    }
    let mut world = world_trusting("ca.pem");
    world.set(
        "MLFLOW_TRACKING_CLIENT_CERT_PATH",
        certificate("ca.pem").to_str().unwrap(),
    );
    world
        .tracemark(&["up", "--store", &stub.url()])
        .failed(3, "private key");
}

//! What monitors can do, without a guest.

use serde_json::{Value, json};
use testkit::qtest::Vmm;

fn start(arguments: &str) -> Vmm {
    Vmm::start(env!("CARGO_BIN_EXE_mini-vmm"), arguments)
}

fn run(vmm: &mut Vmm, command: &str, arguments: Value) -> Value {
    let result = vmm.qmp().execute(command, arguments.clone());
    result.unwrap_or_else(|error| panic!("{command} {arguments}: {error}"))
}

/// The class and the description of the error that `command` ends in.
fn refused(vmm: &mut Vmm, command: &str, arguments: Value) -> (String, String) {
    let error = vmm.qmp().execute(command, arguments).unwrap_err();
    let text = |name: &str| error[name].as_str().unwrap().to_owned();
    (text("class"), text("desc"))
}

#[test]
fn objects_come_and_go_and_are_found_in_the_tree() {
    let mut vmm = start("-M pc -object iothread,id=io0");
    let builtin = json!({"qom-type": "rng-builtin", "id": "rng0"});
    run(&mut vmm, "object-add", builtin.clone());
    let (class, desc) = refused(&mut vmm, "object-add", builtin);
    assert_eq!(
        (class.as_str(), desc.as_str()),
        ("GenericError", "Duplicate ID 'rng0'")
    );
    let objects = run(&mut vmm, "qom-list", json!({"path": "/objects"}));
    let child = |name, kind| json!({"name": name, "type": format!("child<{kind}>")});
    assert_eq!(
        objects,
        json!([child("io0", "iothread"), child("rng0", "rng-builtin")])
    );
    let get = |path, property| json!({"path": path, "property": property});
    assert_eq!(
        run(&mut vmm, "qom-get", get("/objects/io0", "poll-max-ns")),
        32_768
    );
    assert_eq!(
        run(&mut vmm, "qom-get", get("/objects/rng0", "type")),
        "rng-builtin"
    );

    let device = json!({
        "driver": "virtio-rng-pci", "id": "dev0", "addr": "5", "rng": "rng0", "max-bytes": 4,
    });
    run(&mut vmm, "device_add", device);
    let path = "/machine/peripheral/dev0";
    assert_eq!(run(&mut vmm, "qom-get", get(path, "max-bytes")), 4);
    assert_eq!(run(&mut vmm, "qom-get", get(path, "rng")), "rng0");
    let (class, desc) = refused(&mut vmm, "qom-get", get(path, "none"));
    assert_eq!(class, "GenericError");
    assert_eq!(desc, format!("Property '{path}.none' not found"));
    let (class, _) = refused(&mut vmm, "qom-get", get("/machine/peripheral/x", "type"));
    assert_eq!(class, "DeviceNotFound");
    let set = json!({"path": path, "property": "max-bytes", "value": 5});
    assert!(
        refused(&mut vmm, "qom-set", set)
            .1
            .contains("cannot be set")
    );

    let (_, desc) = refused(&mut vmm, "object-del", json!({"id": "rng0"}));
    assert!(desc.contains("in use"), "{desc}");
    run(&mut vmm, "device_del", json!({"id": "dev0"}));
    vmm.output(0xae08, 4, 1 << 5);
    vmm.qmp().event("DEVICE_DELETED");
    vmm.qmp().event("DEVICE_DELETED");
    run(&mut vmm, "object-del", json!({"id": "rng0"}));
    assert!(
        refused(&mut vmm, "object-del", json!({"id": "rng0"}))
            .1
            .contains("no such object")
    );
    assert_eq!(vmm.terminate(), Some(0));
}

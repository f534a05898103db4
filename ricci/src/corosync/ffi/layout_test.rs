//! Compares our declarations with what the C compiler makes of the installed headers.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::mem::{offset_of, size_of};
use std::process::Command;

use super::raw::{
    self, CfgLinkStatusV1, CfgNodeStatusV1, CpgAddress, CpgModelV1, CpgName, CpgRingId, QuorumCallbacks, VotequorumInfo,
};

/// One C expression and the value our side has for it.
type Expectation = (&'static str, i64);

fn number(value: impl TryInto<i64>) -> i64 {
    value.try_into().unwrap_or(i64::MIN)
}

fn structs() -> Vec<Expectation> {
    macro_rules! size {
        ($c:literal, $rust:ty) => {
            (concat!("sizeof(", $c, ")"), number(size_of::<$rust>()))
        };
    }
    macro_rules! offset {
        ($c:literal, $c_field:literal, $rust:ty, $field:ident) => {
            (concat!("offsetof(", $c, ", ", $c_field, ")"), number(offset_of!($rust, $field)))
        };
    }
    vec![
        size!("struct cpg_address", CpgAddress),
        offset!("struct cpg_address", "nodeid", CpgAddress, nodeid),
        offset!("struct cpg_address", "pid", CpgAddress, pid),
        offset!("struct cpg_address", "reason", CpgAddress, reason),
        size!("struct cpg_name", CpgName),
        offset!("struct cpg_name", "value", CpgName, value),
        size!("struct cpg_ring_id", CpgRingId),
        offset!("struct cpg_ring_id", "nodeid", CpgRingId, nodeid),
        offset!("struct cpg_ring_id", "seq", CpgRingId, seq),
        size!("cpg_model_v1_data_t", CpgModelV1),
        offset!("cpg_model_v1_data_t", "cpg_deliver_fn", CpgModelV1, deliver),
        offset!("cpg_model_v1_data_t", "cpg_confchg_fn", CpgModelV1, confchg),
        offset!("cpg_model_v1_data_t", "cpg_totem_confchg_fn", CpgModelV1, totem_confchg),
        offset!("cpg_model_v1_data_t", "flags", CpgModelV1, flags),
        size!("quorum_callbacks_t", QuorumCallbacks),
        size!("struct votequorum_info", VotequorumInfo),
        offset!("struct votequorum_info", "node_state", VotequorumInfo, node_state),
        offset!("struct votequorum_info", "node_votes", VotequorumInfo, node_votes),
        offset!("struct votequorum_info", "highest_expected", VotequorumInfo, highest_expected),
        offset!("struct votequorum_info", "total_votes", VotequorumInfo, total_votes),
        offset!("struct votequorum_info", "quorum", VotequorumInfo, quorum),
        offset!("struct votequorum_info", "flags", VotequorumInfo, flags),
        offset!("struct votequorum_info", "qdevice_name", VotequorumInfo, qdevice_name),
        size!("struct corosync_knet_link_status_v1", CfgLinkStatusV1),
        offset!("struct corosync_knet_link_status_v1", "enabled", CfgLinkStatusV1, enabled),
        offset!("struct corosync_knet_link_status_v1", "connected", CfgLinkStatusV1, connected),
        offset!("struct corosync_knet_link_status_v1", "mtu", CfgLinkStatusV1, mtu),
        offset!("struct corosync_knet_link_status_v1", "src_ipaddr", CfgLinkStatusV1, src_ipaddr),
        offset!("struct corosync_knet_link_status_v1", "dst_ipaddr", CfgLinkStatusV1, dst_ipaddr),
        size!("struct corosync_cfg_node_status_v1", CfgNodeStatusV1),
        offset!("struct corosync_cfg_node_status_v1", "reachable", CfgNodeStatusV1, reachable),
        offset!("struct corosync_cfg_node_status_v1", "link_status", CfgNodeStatusV1, link_status),
    ]
}

fn constants() -> Vec<Expectation> {
    macro_rules! constants {
        ($($name:ident),* $(,)?) => { vec![$((stringify!($name), number(raw::$name))),*] };
    }
    let mut all = constants![
        CS_OK,
        CS_ERR_LIBRARY,
        CS_ERR_TIMEOUT,
        CS_ERR_TRY_AGAIN,
        CS_ERR_INVALID_PARAM,
        CS_ERR_NO_MEMORY,
        CS_ERR_BAD_HANDLE,
        CS_ERR_BUSY,
        CS_ERR_ACCESS,
        CS_ERR_NOT_EXIST,
        CS_ERR_NAME_TOO_LONG,
        CS_ERR_EXIST,
        CS_ERR_NO_SPACE,
        CS_ERR_NOT_SUPPORTED,
        CS_ERR_TOO_BIG,
        CS_ERR_NO_SECTIONS,
        CS_ERR_SECURITY,
        CS_DISPATCH_ALL,
        CS_DISPATCH_ONE_NONBLOCKING,
        CS_TRACK_CURRENT,
        CS_TRACK_CHANGES,
        CPG_MODEL_V1,
        CPG_MODEL_V1_DELIVER_INITIAL_TOTEM_CONF,
        CPG_TYPE_AGREED,
        CPG_MAX_NAME_LENGTH,
        CPG_REASON_JOIN,
        CPG_REASON_LEAVE,
        CPG_REASON_NODEDOWN,
        CPG_REASON_NODEUP,
        CPG_REASON_PROCDOWN,
        VOTEQUORUM_QDEVICE_MAX_NAME_LEN,
        VOTEQUORUM_INFO_QUORATE,
        VOTEQUORUM_NODESTATE_MEMBER,
        CMAP_KEYNAME_MAXLEN,
        CMAP_MAP_ICMAP,
        CMAP_MAP_STATS,
        CFG_MAX_HOST_LEN,
        CFG_MAX_LINKS,
        CFG_NODE_STATUS_V1,
        COROSYNC_CFG_SHUTDOWN_FLAG_REQUEST,
    ];
    // The numbers that `cmap` writes out where it encodes and decodes.
    for (name, value) in (1..)
        .zip([
            "CMAP_VALUETYPE_INT8",
            "CMAP_VALUETYPE_UINT8",
            "CMAP_VALUETYPE_INT16",
            "CMAP_VALUETYPE_UINT16",
            "CMAP_VALUETYPE_INT32",
            "CMAP_VALUETYPE_UINT32",
            "CMAP_VALUETYPE_INT64",
            "CMAP_VALUETYPE_UINT64",
            "CMAP_VALUETYPE_FLOAT",
            "CMAP_VALUETYPE_DOUBLE",
            "CMAP_VALUETYPE_STRING",
            "CMAP_VALUETYPE_BINARY",
        ])
        .map(|(value, name)| (name, value))
    {
        all.push((name, value));
    }
    all
}

#[test]
fn our_declarations_agree_with_the_installed_headers() {
    let expected: BTreeMap<&str, i64> = structs().into_iter().chain(constants()).collect();
    let mut source = String::from("#include <stddef.h>\n#include <stdio.h>\n");
    for header in ["cpg", "quorum", "votequorum", "cmap", "cfg"] {
        writeln!(source, "#include <corosync/{header}.h>").unwrap();
    }
    source.push_str("int main(void) {\n");
    for expression in expected.keys() {
        writeln!(source, "printf(\"%lld\\n\", (long long)({expression}));").unwrap();
    }
    source.push_str("return 0; }\n");

    let folder = tempfile::tempdir().unwrap();
    let (c_file, program) = (folder.path().join("layout.c"), folder.path().join("layout"));
    std::fs::write(&c_file, source).unwrap();
    let compiled = Command::new("cc").arg("-o").arg(&program).arg(&c_file).output().unwrap();
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let printed = Command::new(&program).output().unwrap();
    let found: Vec<i64> =
        String::from_utf8(printed.stdout).unwrap().lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(expected, expected.keys().copied().zip(found).collect());
}

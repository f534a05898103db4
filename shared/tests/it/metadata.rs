//! Agents' metadata → schema: the ways of OCF 1.0, of OCF 1.1 and of fence agents, and what is said against them.

use expect_test::expect;
use shared::agents::metadata::{AgentClass, AgentSchema, MetadataError, ParameterType, check, in_language, parse};

const RESOURCE: &str = r#"<?xml version="1.0"?>
<!DOCTYPE resource-agent SYSTEM "ra-api-1.dtd">
<resource-agent name="sample" version="0.9">
<version>1.1</version>
<longdesc lang="en">
  Runs a sample &amp; watches it.

  It is small.
</longdesc>
<shortdesc lang="en">A sample</shortdesc>
<shortdesc lang="zh_CN">示例</shortdesc>
<parameters>
<parameter name="config" unique="1" required="1"><shortdesc lang="en">File</shortdesc><content type="string"/></parameter>
<parameter name="port" unique-group="address" required="1"><content type="integer" default="80" min="1" max="65535"/></parameter>
<parameter name="ip" unique-group="address" required="1"><content type="string"/></parameter>
<parameter name="quick" reloadable="1"><content type="boolean" default="NO"/></parameter>
<parameter name="wait"><content type="second" default="5s"/></parameter>
<parameter name="mode"><content type="select" default="tagging"><option value="lvmlockd"/><option value="tagging"/></content></parameter>
<parameter name="root"><deprecated><replaced-with name="config"/><desc>old</desc></deprecated><content type="string" default=""/></parameter>
<parameter name="db_passwd"><content type="string"/></parameter>
<parameter name="check_passwd_use_empty"><content type="boolean" default="false"/></parameter>
</parameters>
<actions>
<action name="start" timeout="60s"/>
<action name="stop" timeout="2min"/>
<action name="monitor" depth="0" timeout="20" interval="10s"/>
<action name="monitor" depth="10" timeout="30s" interval="60s" role="Promoted"/>
<action name="promote" timeout="20s"/>
<action name="meta-data" timeout="5s"/>
</actions>
</resource-agent>
"#;

const FENCE: &str = r#"<?xml version="1.0" ?>
<resource-agent name="fence_sample" shortdesc="Fences a sample" >
<symlink name="fence_other" shortdesc="Fences another"/>
<longdesc>Long.</longdesc>
<parameters>
<parameter name="action" unique="0" required="1"><getopt mixed="-o" /><content type="string" default="reboot" /><shortdesc lang="en">Fencing action</shortdesc></parameter>
<parameter name="ip" unique="0" required="1" obsoletes="ipaddr"><content type="string"/></parameter>
<parameter name="ipaddr" unique="0" required="1" deprecated="1"><content type="string"/></parameter>
<parameter name="password" unique="1" required="0" obsoletes="passwd"><content type="string"/></parameter>
<parameter name="passwd" deprecated="1"><content type="string"/></parameter>
<parameter name="password_script"><content type="string"/></parameter>
<parameter name="plug" required="1" obsoletes="port"><content type="string"/></parameter>
<parameter name="port" required="1" deprecated="1"><content type="string"/></parameter>
<parameter name="power_timeout"><content type="second" default="20"/></parameter>
</parameters>
<actions><action name="on" automatic="0"/><action name="off"/><action name="monitor"/><action name="list"/></actions>
</resource-agent>
"#;

fn resource(xml: &str) -> AgentSchema {
    parse(AgentClass::Resource, xml).unwrap()
}

fn told(schema: &AgentSchema) -> String {
    let lines = schema.parameters.iter().map(|parameter| {
        let mut words = vec![parameter.name.clone(), format!("{:?}", parameter.kind)];
        words.extend(parameter.default.as_ref().map(|default| format!("={default}")));
        words.extend(parameter.required.then(|| "required".into()));
        words.extend(parameter.unique_group.as_ref().map(|group| format!("unique:{group}")));
        words.extend(parameter.secret.then(|| "secret".into()));
        words.extend(parameter.reloadable.then(|| "reloadable".into()));
        words.extend(parameter.deprecated.then(|| format!("deprecated→{:?}", parameter.replaced_by)));
        words.push(format!("{:?}", parameter.given));
        words.join(" ")
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_parameters_of_a_resource_agent_have_types_bounds_options_and_groups() {
    let schema = resource(RESOURCE);
    expect![[r#"
        config String required unique:config Once
        port Integer { min: Some(1), max: Some(65535) } =80 unique:address Once
        ip String required unique:address Once
        quick Boolean =NO reloadable Once
        wait Seconds =5s Once
        mode Select { options: ["lvmlockd", "tagging"] } =tagging Once
        root String deprecated→Some("config") Once
        db_passwd String secret Once
        check_passwd_use_empty Boolean =false Once"#]]
    .assert_eq(&told(&schema));
    assert_eq!((schema.version.as_deref(), schema.ocf_version.as_deref()), (Some("0.9"), Some("1.1")));
    assert_eq!(in_language(&schema.short, "zh_CN"), "示例");
    assert_eq!(in_language(&schema.short, "fr"), "A sample");
    assert_eq!(in_language(&schema.long, "en"), "Runs a sample & watches it.\n\nIt is small.");
    assert!(schema.promotable && schema.remarks.is_empty(), "{:?}", schema.remarks);
}

#[test]
fn actions_have_timeouts_intervals_and_depths() {
    let schema = resource(RESOURCE);
    assert_eq!(schema.timeout_ms("start", 0), Some(60_000));
    assert_eq!(schema.timeout_ms("stop", 0), Some(120_000));
    assert_eq!(schema.timeout_ms("monitor", 10), Some(30_000));
    assert_eq!(schema.timeout_ms("monitor", 20), Some(20_000));
    assert_eq!(schema.timeout_ms("validate-all", 0), None);
    let deep = schema.actions.iter().find(|action| action.depth == 10).unwrap();
    assert_eq!((deep.interval_ms, deep.role.as_deref()), (Some(60_000), Some("Promoted")));
}

#[test]
fn a_fence_agents_older_names_are_deprecated_and_the_plug_is_the_nodes() {
    let schema = parse(AgentClass::Fence, FENCE).unwrap();
    expect![[r#"
        action String =reboot PerRun
        ip String required Once
        ipaddr String deprecated→Some("ip") Once
        password String secret Once
        passwd String secret deprecated→Some("password") Once
        password_script String Once
        plug String required PerNode
        port String deprecated→Some("plug") PerNode
        power_timeout Seconds =20 Once"#]]
    .assert_eq(&told(&schema));
    assert_eq!(in_language(&schema.short, "en"), "Fences a sample");
    assert_eq!(schema.aliases[0].name, "fence_other");
    assert_eq!(schema.impossible(), None);
}

#[test]
fn what_the_metadata_says_against_itself_is_remarked_and_understood() {
    let schema = resource(
        "some warning\n<?xml version=\"1.0\"?><resource-agent name=\"odd\"><parameters>\
         <parameter name=\"host\"><content type=\"boolean\" default=\"127.0.0.1\"/></parameter>\
         <parameter name=\"level\"><content type=\"select\" default=\"3\"><option value=\"1\"/></content></parameter>\
         <parameter name=\"none\"><content type=\"select\"/></parameter>\
         <parameter name=\"host\"><content type=\"string\"/></parameter>\
         <parameter name=\"share\"><content type=\"percentage\"/></parameter><parameter/>\
         <parameter name=\"bare\"/></parameters>\
         <actions><action name=\"start\" timeout=\"soon\"/></actions></resource-agent>",
    );
    let remarks: Vec<String> = schema
        .remarks
        .iter()
        .map(|remark| format!("{}: {}", remark.parameter.as_deref().unwrap_or("-"), remark.text))
        .collect();
    expect![[r#"
        -: timeout="soon" of the action start is not a time; passed over
        host: its default "127.0.0.1" does not fit its type boolean (give true or false); taken as a text
        level: its default "3" is not among its options; added
        none: it offers no options to select from; taken as a text
        host: it stands twice; the first one counts
        share: its type "percentage" is not known; taken as a text
        -: a parameter without a name is passed over
        bare: it has no <content>; taken as a text"#]]
    .assert_eq(&remarks.join("\n"));
    assert_eq!(
        schema.parameter("level").unwrap().kind,
        ParameterType::Select { options: vec!["1".into(), "3".into()] }
    );
    assert_eq!(schema.impossible().as_deref(), Some("it does not offer the action stop, monitor"));
}

#[test]
fn output_that_is_no_metadata_is_an_error_that_says_what_it_was() {
    let errors: Vec<String> = [
        "",
        "Usage: agent {start|stop}",
        "<?xml version=\"1.0\"?>\n<resource-agent name=\"x\"><parameters></resource-agent>",
        "<?xml version=\"1.0\"?><other/>",
        "<resource-agent/>",
    ]
    .iter()
    .map(|output| parse(AgentClass::Resource, output).unwrap_err().to_string())
    .collect();
    for (error, expected) in errors.iter().zip([
        "it printed no metadata but \"\"",
        "it printed no metadata but \"Usage: agent {start|stop}\"",
        "its metadata is not well-formed XML: line 2: ",
        "its metadata is about <other>, not about a <resource-agent>",
        "its metadata does not name the agent",
    ]) {
        assert!(error.starts_with(expected), "{error}");
    }
    let endless = format!("<resource-agent name=\"x\"><longdesc>{}</longdesc></resource-agent>", "x".repeat(600_000));
    assert!(matches!(parse(AgentClass::Resource, &endless), Err(MetadataError::TooLong { .. })));
}

#[test]
fn values_are_checked_and_a_secret_is_not_repeated() {
    let complaints = |schema: &AgentSchema, given: &[(&str, &str)]| -> Vec<String> {
        let given: Vec<(String, String)> =
            given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        check(schema, &given)
            .into_iter()
            .map(|complaint| format!("{} {}", if complaint.is_fault { "fault" } else { "hint" }, complaint.text))
            .collect()
    };
    let schema = resource(RESOURCE);
    expect![[r#"
        fault config is required
        fault port="70000" cannot be right: give at most 65535
        fault ip is required
        fault quick="perhaps" cannot be right: give true or false
        fault wait="soon" cannot be right: give seconds, e.g. 30
        fault mode="tags" cannot be right: give one of lvmlockd, tagging
        hint sample does not know the parameter colour"#]]
    .assert_eq(
        &complaints(
            &schema,
            &[
                ("port", "70000"),
                ("ip", ""),
                ("quick", "perhaps"),
                ("wait", "soon"),
                ("mode", "tags"),
                ("colour", "red"),
            ],
        )
        .join("\n"),
    );
    let fence = parse(AgentClass::Fence, FENCE).unwrap();
    expect![[r#"
        hint ipaddr is an older name; give ip instead
        hint port is an older name; give plug instead"#]]
    .assert_eq(&complaints(&fence, &[("ipaddr", "10.0.0.1"), ("port", "1"), ("power_timeout", "1.5")]).join("\n"));
    expect!["fault port and plug are two names of one thing: give plug alone"]
        .assert_eq(&complaints(&fence, &[("ip", "10.0.0.1"), ("plug", "1"), ("port", "1")]).join("\n"));
    // A resource agent knows itself which of its names it takes.
    assert_eq!(
        complaints(&schema, &[("config", "/a"), ("root", "/a"), ("ip", "::1")]),
        ["hint root is an older name; give config instead"]
    );
}

#[test]
fn the_json_of_a_schema_is_stable() {
    let schema = resource(
        "<resource-agent name=\"x\"><parameters><parameter name=\"a\"><content type=\"select\"><option value=\"1\"/>\
         </content></parameter></parameters><actions><action name=\"start\" timeout=\"1s\"/></actions></resource-agent>",
    );
    expect![[r#"{"class":"resource","name":"x","version":null,"ocf_version":null,"short":{},"long":{},"aliases":[],"parameters":[{"name":"a","type":{"kind":"select","options":["1"]},"default":null,"required":false,"unique_group":null,"secret":false,"reloadable":false,"deprecated":false,"replaced_by":null,"given":"once","short":{},"long":{}}],"actions":[{"name":"start","timeout_ms":1000,"interval_ms":null,"depth":0,"role":null,"automatic":false,"on_target":false}],"promotable":false,"remarks":[]}"#]]
    .assert_eq(&serde_json::to_string(&schema).unwrap());
    let back: AgentSchema = serde_json::from_str(&serde_json::to_string(&schema).unwrap()).unwrap();
    assert_eq!(back, schema);
}

#[test]
fn a_file_system_needs_no_type_although_its_agent_says_so() {
    let xml = |name: &str| {
        format!(
            r#"<resource-agent name="{name}"><parameters><parameter name="fstype" required="1"><content type="string"/></parameter></parameters><actions/></resource-agent>"#
        )
    };
    assert!(check(&resource(&xml("Filesystem")), &[]).is_empty(), "it is mounted as what it is found to be");
    assert_eq!(check(&resource(&xml("Other")), &[])[0].text, "fstype is required");
}

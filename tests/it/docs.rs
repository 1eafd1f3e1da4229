//! What the documentation tells people to paste.

use glacier_gateway::config::Settings;

const BASE: &str = "[aws]\nregion = \"eu-central-1\"\naccount_id = \"111122223333\"\n";

#[test]
fn the_configuration_in_the_documentation_is_good() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/docs");
    let mut checked = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let blocks: String =
            text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
        if blocks.contains("[issuers.") {
            let settings = Settings::from_toml(&format!("{BASE}{blocks}"));
            assert!(settings.is_ok(), "{}: {:?}", path.display(), settings.err());
            checked += 1;
        }
    }
    assert!(checked >= 2);
}

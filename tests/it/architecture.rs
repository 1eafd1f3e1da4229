//! Data flows one way: every room of `src` imports only rooms below it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The rooms from the ground up: each with the rooms that it may import, all of which
/// stand before it, so that there are no circles. A file belongs to the room with the
/// longest path that it begins with.
const ROOMS: [(&str, &[&str]); 32] = [
    ("domain", &[]),
    ("spelling", &[]),
    ("files", &[]),
    ("reload", &["files"]),
    ("config", &["domain", "spelling"]),
    ("policy/language", &["domain", "spelling"]),
    ("policy/engine", &["domain", "policy/language"]),
    ("policy/review", &["domain", "policy/engine", "policy/language", "spelling"]),
    ("policy/folder", &["domain", "files", "policy/engine", "policy/language", "policy/review"]),
    ("policy", &["policy/engine", "policy/folder", "policy/language", "policy/review"]),
    ("telemetry", &["config"]),
    ("metrics", &["policy", "reload", "telemetry"]),
    ("authn", &["config", "domain", "files", "reload"]),
    ("store", &["config"]),
    ("audit", &["config", "domain", "files", "policy", "store"]),
    ("glacier", &["audit", "config", "domain", "policy"]),
    ("gateway", &["authn", "config", "domain", "glacier", "metrics", "policy", "reload"]),
    ("tls", &["authn", "config", "files", "reload"]),
    ("http/peer", &[]),
    ("http/problem", &["authn", "domain", "gateway", "glacier", "policy"]),
    ("http/parameters", &["domain", "gateway", "glacier", "http/problem"]),
    ("http/docs", &["config", "gateway"]),
    ("http/body", &["http/problem"]),
    ("http/observe", &["domain", "gateway", "http/docs", "http/peer", "http/problem", "metrics"]),
    (
        "http/caller",
        &["authn", "domain", "gateway", "http/observe", "http/peer", "http/problem", "policy"],
    ),
    ("http/methods", &["http/problem"]),
    ("http/management", &["gateway", "metrics", "telemetry"]),
    (
        "http/rest",
        &[
            "config",
            "domain",
            "gateway",
            "glacier",
            "policy",
            "http/body",
            "http/caller",
            "http/parameters",
            "http/problem",
        ],
    ),
    (
        "http/aws",
        &[
            "authn",
            "domain",
            "gateway",
            "glacier",
            "http/body",
            "http/caller",
            "http/observe",
            "http/parameters",
            "http/problem",
        ],
    ),
    ("http", &["gateway", "http/aws", "http/docs", "http/methods", "http/observe", "http/rest"]),
    ("app", &["authn", "config", "gateway", "glacier", "http", "http/management", "policy", "tls"]),
    // What starts the program, and what stands in for AWS, may import everything below.
    ("", &[]),
];

/// Crates that only the rooms named here may speak to.
const CRATES: [(&str, &[&str]); 5] = [
    ("actix_web", &["app", "cli", "dev", "http", "simulator", "tls"]),
    ("aws_sdk_glacier", &["glacier"]),
    ("reqwest", &["authn", "cli"]),
    ("rusqlite", &["store"]),
    ("sqlx", &["audit", "store"]),
];

#[test]
fn every_room_imports_only_what_it_may() {
    let mut known = BTreeSet::new();
    for (room, imports) in ROOMS {
        for import in imports {
            assert!(known.contains(import), "{room} imports {import}, which stands above it");
        }
        known.insert(room);
    }
    for (path, text) in sources() {
        let room = room_of(&path);
        let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room && !room.is_empty())
        else {
            continue;
        };
        for import in imports(&path, &text) {
            let imported = room_of(&import);
            assert!(
                imported == room || imported.is_empty() || allowed.contains(&imported),
                "src/{path}.rs, of {room}, imports {import}, of {imported}"
            );
        }
    }
}

#[test]
fn the_core_knows_no_http_and_only_the_client_knows_the_sdk() {
    for (path, text) in sources() {
        for (name, rooms) in CRATES {
            let may = rooms.iter().any(|room| path.split('/').next() == Some(room));
            assert!(may || !text.contains(name), "src/{path}.rs mentions {name}");
        }
    }
}

#[test]
fn only_the_upstream_client_speaks_to_glacier_and_only_the_five_operations() {
    for (path, text) in sources().into_iter().filter(|(path, _)| path.starts_with("glacier/")) {
        for operation in [
            "initiate_multipart_upload",
            "upload_multipart_part",
            "complete_multipart_upload",
            "upload_archive",
            "delete_archive",
            "create_vault",
            "delete_vault",
            "initiate_job",
        ] {
            assert!(!text.contains(operation), "{path}: {operation} is not ours to perform");
        }
    }
}

/// The room that a path such as `http/rest/uploads` belongs to.
fn room_of(path: &str) -> &'static str {
    let within = |room: &&str| {
        path.strip_prefix(room).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let rooms = ROOMS.iter().map(|(name, _)| *name).filter(within);
    rooms.max_by_key(|room| room.len()).unwrap_or("")
}

/// The files of `src` by their paths without `.rs`, and their texts without comments and tests.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let source = |path: PathBuf| {
        let name = path.strip_prefix(&root).unwrap().with_extension("");
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("\nmod tests {").next().unwrap_or_default().lines();
        let code = code.filter(|line| !line.trim_start().starts_with("//"));
        let text = code.collect::<Vec<_>>().join("\n");
        (name.to_str().unwrap().to_owned(), text)
    };
    files(&root).into_iter().map(source).collect()
}

/// All files of a folder and of those within.
fn files(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The paths below `src` that the `use` declarations of the file at `path` name, and
/// whatever else it names by `crate::`.
fn imports(path: &str, text: &str) -> BTreeSet<String> {
    let module = path.strip_suffix("/mod").unwrap_or(path);
    let mut found = BTreeSet::new();
    for declaration in text.split("use ").skip(1) {
        let before_end = declaration.split(';').next().unwrap_or_default();
        let flat: String = before_end.split_whitespace().collect::<Vec<_>>().join(" ");
        for import in expand(&flat) {
            found.extend(resolve(module, &import));
        }
    }
    for mention in text.split("crate::").skip(1) {
        let name = mention.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':');
        found.extend(resolve(module, &format!("crate::{}", name.clone().next().unwrap_or(""))));
    }
    found
}

/// `a::{b, c::{d}}` as `a::b` and `a::c::d`.
fn expand(tree: &str) -> Vec<String> {
    let Some((head, rest)) = tree.split_once('{') else { return vec![tree.trim().to_owned()] };
    let Some((inner, _)) = rest.rsplit_once('}') else { return Vec::new() };
    let (mut depth, mut parts) = (0, vec![String::new()]);
    for c in inner.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().unwrap().push(c);
    }
    let parts = parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty());
    let parts = parts.flat_map(expand);
    parts.map(|part| format!("{}{part}", head.trim())).collect()
}

/// A path of Rust's as one below `src`; `None` for other crates.
fn resolve(module: &str, import: &str) -> Option<String> {
    let mut at: Vec<&str> = module.split('/').collect();
    let mut segments = import.split("::").peekable();
    match segments.next()? {
        "crate" => at.clear(),
        "self" => {}
        "super" => {
            at.pop();
        }
        _ => return None,
    }
    while segments.next_if_eq(&"super").is_some() {
        at.pop();
    }
    at.extend(segments.map(|segment| segment.split(' ').next().unwrap_or("")));
    Some(at.join("/"))
}

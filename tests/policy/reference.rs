//! A naive evaluator, written from the IAM User Guide and nothing else: no
//! index, no compilation, every text taken apart anew. Slow and plain on purpose.

use serde_json::{Map, Value};

/// One character of a pattern after its variables were replaced.
#[derive(Clone, Copy, PartialEq)]
enum Symbol {
    Literal(char),
    AnyOne,
    AnyMany,
}

/// Decides a case of the batch form.
pub fn decide(case: &Value) -> &'static str {
    let layers = ["policies", "guardrails", "vaultPolicies"].map(|layer| effects(case, layer));
    let allow = |layer: &[String]| layer.iter().any(|effect| effect == "Allow");
    let guarded = case["guardrails"].as_array().is_some_and(|list| !list.is_empty());
    if layers.iter().flatten().any(|effect| effect == "Deny") {
        "explicitDeny"
    } else if (allow(&layers[0]) || allow(&layers[2])) && (!guarded || allow(&layers[1])) {
        "allowed"
    } else {
        "implicitDeny"
    }
}

/// The effects of the statements of a layer that apply.
fn effects(case: &Value, layer: &str) -> Vec<String> {
    let mut effects = Vec::new();
    for document in case[layer].as_array().into_iter().flatten() {
        let variables = document["Version"] == "2012-10-17";
        for statement in list(&document["Statement"]) {
            if applies(statement, variables, &case["request"]) {
                effects.push(statement["Effect"].as_str().unwrap().to_owned());
            }
        }
    }
    effects
}

/// An element that takes one value or a list of them.
fn list(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(values) => values.iter().collect(),
        Value::Null => Vec::new(),
        one => vec![one],
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn applies(statement: &Value, variables: bool, request: &Value) -> bool {
    let allow = statement["Effect"] == "Allow";
    let context = lowered(&request["context"]);

    let action = request["action"].as_str().unwrap().to_lowercase();
    let named = |element: &str| {
        list(&statement[element]).iter().any(|pattern| {
            glob(&symbols(&text(pattern).to_lowercase(), true, false, &context).unwrap(), &action)
        })
    };
    if statement.get("Action").is_some() && !named("Action") {
        return false;
    }
    if statement.get("NotAction").is_some() && named("NotAction") {
        return false;
    }

    let resource = request["resource"].as_str().unwrap();
    let matches = |pattern: &&Value| {
        let written = text(pattern);
        let mut completed = written.clone();
        while completed.starts_with("arn:") && completed.matches(':').count() < 5 {
            completed.push_str(":*");
        }
        let matches = |pattern: &str| {
            symbols(pattern, true, variables, &context).map(|symbols| glob(&symbols, resource))
        };
        Some(matches(&written)? || matches(&completed)?)
    };
    if statement.get("Resource").is_some() {
        // A pattern whose variable has no value matches nothing.
        if !list(&statement["Resource"]).iter().any(|p| matches(p) == Some(true)) {
            return false;
        }
    } else {
        let results: Vec<_> = list(&statement["NotResource"]).iter().map(matches).collect();
        if results.contains(&Some(true)) || (allow && results.contains(&None)) {
            return false;
        }
    }

    principal_applies(statement, allow, request["principal"].as_str().unwrap())
        && statement.get("Condition").is_none_or(|condition| {
            condition.as_object().unwrap().iter().all(|(operator, keys)| {
                keys.as_object().unwrap().iter().all(|(key, expected)| {
                    let expected: Vec<String> = list(expected).into_iter().map(text).collect();
                    condition_holds(operator, key, &expected, &context, variables, allow)
                })
            })
        })
}

/// Context keys in lower case with their values; a key without any is absent.
fn lowered(context: &Value) -> Map<String, Value> {
    let context = context.as_object().cloned().unwrap_or_default();
    context
        .into_iter()
        .filter(|(_, value)| !list(value).is_empty())
        .map(|(key, value)| (key.to_lowercase(), value))
        .collect()
}

fn principal_applies(statement: &Value, allow: bool, caller: &str) -> bool {
    let (element, not) = match (statement.get("Principal"), statement.get("NotPrincipal")) {
        (Some(element), _) => (element, false),
        (_, Some(element)) => (element, true),
        _ => return true,
    };
    let ids: Vec<String> = match element {
        Value::String(star) => vec![star.clone()],
        map => list(&map["AWS"]).into_iter().map(text).collect(),
    };
    let account = caller.split(':').nth(4).unwrap();
    let itself = ids.iter().any(|id| id == "*" || id == caller || is_team_of(id, caller));
    let role = ids.iter().any(|id| role_of(id, caller));
    let by_account = !account.is_empty()
        && ids.iter().any(|id| id == account || *id == format!("arn:aws:iam::{account}:root"));
    match (not, allow) {
        (false, true) => itself || role,
        (false, false) => itself || role || by_account,
        (true, true) => !(itself || role || by_account),
        (true, false) => !itself,
    }
}

fn is_team_of(id: &str, caller: &str) -> bool {
    // …:::team/TEAM against …:::team/TEAM/SUBJECT, whose subject may hold slashes.
    let fields: Vec<&str> = caller.split('/').collect();
    id.matches('/').count() == 1
        && caller.starts_with("arn:aws:glacier-gateway:::team/")
        && *id == fields[..2].join("/")
}

fn role_of(id: &str, caller: &str) -> bool {
    let Some((account, session)) =
        caller.strip_prefix("arn:aws:sts::").and_then(|rest| rest.split_once(":assumed-role/"))
    else {
        return false;
    };
    let role = session.split('/').next().unwrap();
    id == format!("arn:aws:iam::{account}:role/{role}")
        || (id.starts_with(&format!("arn:aws:iam::{account}:role/"))
            && id.ends_with(&format!("/{role}")))
}

fn condition_holds(
    operator: &str,
    key: &str,
    expected: &[String],
    context: &Map<String, Value>,
    variables: bool,
    allow: bool,
) -> bool {
    let values: Vec<String> = context
        .get(&key.to_lowercase())
        .map(|value| list(value).into_iter().map(text).collect())
        .unwrap_or_default();
    if operator == "Null" {
        return expected.iter().any(|e| (e == "true") == values.is_empty());
    }
    let (set, operator) = match operator.split_once(':') {
        Some((set, operator)) => (set, operator),
        None => ("", operator),
    };
    let (operator, if_exists) = match operator.strip_suffix("IfExists") {
        Some(operator) => (operator, true),
        None => (operator, false),
    };
    let negated = operator.contains("Not");
    let plain = operator.replacen("Not", "", 1);
    if values.is_empty() {
        return if_exists || set == "ForAllValues" || (set.is_empty() && negated);
    }
    let one = |value: &String| {
        let results: Vec<Option<bool>> =
            expected.iter().map(|e| compare(&plain, value, e, context, variables)).collect();
        let comparable = readable(&plain, value);
        if results.contains(&Some(true)) {
            !negated
        } else if !comparable || results.contains(&None) {
            negated && !allow
        } else {
            negated
        }
    };
    match set {
        "ForAllValues" => values.iter().all(one),
        "ForAnyValue" => values.iter().any(one),
        // Several values without a set operator: fail closed.
        _ if allow => values.iter().all(one),
        _ => values.iter().any(one),
    }
}

/// Whether a context value can be read as the operator's type.
fn readable(operator: &str, value: &str) -> bool {
    match operator {
        o if o.starts_with("Numeric") => value.parse::<f64>().is_ok(),
        o if o.starts_with("Date") => seconds(value).is_some(),
        "Bool" => ["true", "false"].contains(&value.to_lowercase().as_str()),
        "IpAddress" => value.parse::<std::net::IpAddr>().is_ok(),
        _ => true,
    }
}

/// Compares one value of the request with one of the policy; `None` when the
/// two cannot be compared.
fn compare(
    operator: &str,
    value: &str,
    expected: &str,
    context: &Map<String, Value>,
    variables: bool,
) -> Option<bool> {
    let ordered = |comparison: &str, left: f64, right: f64| match comparison {
        "Equals" => left == right,
        "LessThan" => left < right,
        "LessThanEquals" => left <= right,
        "GreaterThan" => left > right,
        "GreaterThanEquals" => left >= right,
        other => panic!("{other}"),
    };
    Some(match operator {
        "StringEquals" => symbols(expected, false, variables, context)
            .is_some_and(|symbols| glob(&symbols, value)),
        "StringEqualsIgnoreCase" => symbols(expected, false, variables, context)
            .is_some_and(|symbols| glob(&lower(&symbols), &value.to_lowercase())),
        "StringLike" => {
            symbols(expected, true, variables, context).is_some_and(|symbols| glob(&symbols, value))
        }
        "ArnEquals" | "ArnLike" => symbols(expected, true, variables, context)
            .is_some_and(|symbols| arn_matches(&symbols, value)),
        "Bool" => {
            let (value, expected) = (value.to_lowercase(), expected.to_lowercase());
            if !["true", "false"].contains(&value.as_str())
                || !["true", "false"].contains(&expected.as_str())
            {
                return None;
            }
            value == expected
        }
        "BinaryEquals" => value.trim_end_matches('=') == expected.trim_end_matches('='),
        "IpAddress" => in_network(value.parse().ok()?, expected)?,
        _ => match operator.strip_prefix("Numeric") {
            Some(comparison) => ordered(comparison, value.parse().ok()?, expected.parse().ok()?),
            None => ordered(operator.strip_prefix("Date")?, seconds(value)?, seconds(expected)?),
        },
    })
}

fn lower(symbols: &[Symbol]) -> Vec<Symbol> {
    let lower = |symbol: &Symbol| match symbol {
        Symbol::Literal(c) => c.to_lowercase().map(Symbol::Literal).collect(),
        other => vec![*other],
    };
    symbols.iter().flat_map(lower).collect()
}

/// Six fields, each matched by itself.
fn arn_matches(pattern: &[Symbol], value: &str) -> bool {
    let mut fields: Vec<Vec<Symbol>> = vec![Vec::new()];
    for symbol in pattern {
        if *symbol == Symbol::Literal(':') && fields.len() < 6 {
            fields.push(Vec::new());
        } else {
            fields.last_mut().unwrap().push(*symbol);
        }
    }
    let values: Vec<&str> = value.splitn(6, ':').collect();
    fields.len() == 6
        && values.len() == 6
        && fields.iter().zip(values).all(|(pattern, value)| glob(pattern, value))
}

fn in_network(address: std::net::IpAddr, network: &str) -> Option<bool> {
    use std::net::IpAddr;
    let (base, length) = match network.split_once('/') {
        Some((base, length)) => (base.parse::<IpAddr>().ok()?, Some(length.parse::<u32>().ok()?)),
        None => (network.parse::<IpAddr>().ok()?, None),
    };
    let bits = |address: IpAddr| match address {
        IpAddr::V4(v4) => (u128::from(u32::from(v4)), 32_u32),
        IpAddr::V6(v6) => (u128::from(v6), 128),
    };
    let ((address, width), (base, base_width)) = (bits(address), bits(base));
    let shift = base_width.checked_sub(length.unwrap_or(base_width))?;
    let cut = |bits: u128| if shift == 128 { 0 } else { bits >> shift };
    Some(width == base_width && cut(address) == cut(base))
}

/// A date in seconds since 1970.
fn seconds(text: &str) -> Option<f64> {
    if text.len() != 4 && text.parse::<i64>().is_ok() {
        return text.parse().ok();
    }
    let whole = match text.len() {
        4 => format!("{text}-01-01T00:00:00Z"),
        7 => format!("{text}-01T00:00:00Z"),
        10 => format!("{text}T00:00:00Z"),
        // 2026-11-23T10:30Z
        17 => format!("{}:00Z", text.strip_suffix('Z')?),
        _ => text.to_owned(),
    };
    let format = &time::format_description::well_known::Rfc3339;
    let date = time::OffsetDateTime::parse(&whole, format).ok()?;
    Some(date.unix_timestamp() as f64)
}

/// Replaces variables and marks wildcards; `None` when a variable has no value.
fn symbols(
    pattern: &str,
    wildcards: bool,
    variables: bool,
    context: &Map<String, Value>,
) -> Option<Vec<Symbol>> {
    let mut symbols = Vec::new();
    let mut rest = pattern;
    while let Some(next) = rest.chars().next() {
        if variables && rest.starts_with("${") {
            let end = rest.find('}').unwrap();
            let inside = &rest[2..end];
            rest = &rest[end + 1..];
            if ["*", "?", "$"].contains(&inside) {
                symbols.extend(inside.chars().map(Symbol::Literal));
                continue;
            }
            let (key, default) = match inside.split_once(", ") {
                Some((key, default)) => (key, Some(default.trim_matches('\'').to_owned())),
                None => (inside, None),
            };
            let values = context.get(&key.to_lowercase()).map(list).unwrap_or_default();
            let value = match values.as_slice() {
                [_, _, ..] => return None,
                [value] if !text(value).is_empty() => text(value),
                _ => default?,
            };
            symbols.extend(value.chars().map(Symbol::Literal));
        } else {
            symbols.push(match next {
                '*' if wildcards => Symbol::AnyMany,
                '?' if wildcards => Symbol::AnyOne,
                other => Symbol::Literal(other),
            });
            rest = &rest[next.len_utf8()..];
        }
    }
    Some(symbols)
}

/// Matches by trying everything.
fn glob(pattern: &[Symbol], text: &str) -> bool {
    match (pattern.first(), text.chars().next()) {
        (None, next) => next.is_none(),
        (Some(Symbol::AnyMany), next) => {
            glob(&pattern[1..], text)
                || next.is_some_and(|next| glob(pattern, &text[next.len_utf8()..]))
        }
        (Some(_), None) => false,
        (Some(symbol), Some(next)) => {
            (*symbol == Symbol::AnyOne || *symbol == Symbol::Literal(next))
                && glob(&pattern[1..], &text[next.len_utf8()..])
        }
    }
}

//! Requests that no route takes.

use actix_web::{HttpRequest, HttpResponse, dev::ResourceDef, web::Data};

use super::problem::{Code, Problem};

/// The methods of every path of the document.
pub struct Methods(Vec<(ResourceDef, String)>);

impl Methods {
    /// Reads them off the document.
    pub fn of(document: &utoipa::openapi::OpenApi) -> Self {
        let methods = |item: &utoipa::openapi::PathItem| {
            let all = [("GET", &item.get), ("POST", &item.post), ("DELETE", &item.delete)];
            let own: Vec<&str> =
                all.into_iter().filter(|(_, o)| o.is_some()).map(|(name, _)| name).collect();
            own.join(", ")
        };
        let paths = &document.paths.paths;
        let mut all: Vec<_> = paths
            .iter()
            .map(|(path, item)| (ResourceDef::new(path.as_str()), methods(item)))
            .collect();
        for public in ["/docs", "/docs/{_:.*}", "/openapi.json", "/openapi.yaml"] {
            all.push((ResourceDef::new(public), "GET".to_owned()));
        }
        Self(all)
    }
}

/// Answers what no route takes: 405 if the path has other methods, else 404.
pub async fn unmatched(
    request: HttpRequest,
    methods: Data<Methods>,
) -> Result<HttpResponse, Problem> {
    match methods.0.iter().find(|(path, _)| path.is_match(request.path())) {
        Some((_, allow)) => Err(Problem {
            allow: Some(allow.clone()),
            ..Problem::new(Code::MethodNotAllowed, format!("This resource has {allow}."))
        }),
        None => Err(Problem::new(
            Code::RouteNotFound,
            "See /openapi.json or /docs for the resources that there are.",
        )),
    }
}

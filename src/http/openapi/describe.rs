//! How a route is described: what it takes and answers. The rest follows from the table of routes.

use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::path::{Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{
    ContentBuilder, Ref, RefOr, Required, Response, ResponseBuilder, Schema, SecurityRequirement,
};

use super::TOKEN;
use super::schemas::{Detail, FieldErrors};
use crate::http::frame::Verb;

/// Who may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Anyone,
    /// Anyone, and the answer is a page.
    Browser,
    User,
    Admin,
    /// Outside the frame of the API.
    Operator,
}

/// What a body is made of.
#[derive(Clone)]
enum Shape {
    One(String),
    List(String),
    Text,
}

impl Shape {
    fn schema(&self) -> RefOr<Schema> {
        match self {
            Self::One(name) => Ref::from_schema_name(name).into(),
            Self::List(name) => {
                RefOr::T(Schema::Array(ArrayBuilder::new().items(Ref::from_schema_name(name)).build()))
            }
            Self::Text => text().into(),
        }
    }
}

struct Answer {
    status: u16,
    about: &'static str,
    media_type: &'static str,
    shape: Option<Shape>,
    example: Option<Value>,
    is_list: bool,
}

/// A route as it is documented.
pub(super) struct Description {
    pub(super) path: &'static str,
    pub(super) verb: Verb,
    id: &'static str,
    tag: &'static str,
    summary: &'static str,
    about: Option<&'static str>,
    parameters: Vec<Parameter>,
    body: Option<(Shape, Required, Option<Value>)>,
    answers: Vec<Answer>,
}

/// Begins a description: the operation's id, its group, and what it does in a line.
pub(super) fn route(
    verb: Verb,
    path: &'static str,
    id: &'static str,
    tag: &'static str,
    summary: &'static str,
) -> Description {
    let (parameters, answers) = (Vec::new(), Vec::new());
    Description { path, verb, id, tag, summary, about: None, parameters, body: None, answers }
}

impl Description {
    /// More than the line tells.
    pub(super) fn about(mut self, about: &'static str) -> Self {
        self.about = Some(about);
        self
    }

    /// A text in the query.
    pub(super) fn query(self, name: &'static str, about: &'static str) -> Self {
        self.parameter(ParameterIn::Query, name, about, text().into())
    }

    /// A number in the query.
    pub(super) fn number(self, name: &'static str, about: &'static str) -> Self {
        let schema = ObjectBuilder::new().schema_type(Type::Integer).build();
        self.parameter(ParameterIn::Query, name, about, schema.into())
    }

    /// One of these words in the query.
    pub(super) fn choice(self, name: &'static str, words: &[&str], about: &'static str) -> Self {
        let schema = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words.to_vec())).build();
        self.parameter(ParameterIn::Query, name, about, schema.into())
    }

    /// A request header.
    pub(super) fn header(self, name: &'static str, about: &'static str) -> Self {
        self.parameter(ParameterIn::Header, name, about, text().into())
    }

    /// A part of a list by place.
    pub(super) fn window(self) -> Self {
        self.number("limit", "How many at most").number("offset", "How many are left out before them")
    }

    /// Whose records are listed.
    pub(super) fn of_user(self) -> Self {
        self.query("user", "For admins: the id of the user whose records are meant; else the caller's own")
    }

    fn parameter(mut self, place: ParameterIn, name: &str, about: &str, schema: RefOr<Schema>) -> Self {
        let parameter = ParameterBuilder::new().name(name).parameter_in(place).required(Required::False);
        self.parameters.push(parameter.description(Some(about)).schema(Some(schema)).build());
        self
    }

    /// A body, with an example.
    pub(super) fn takes<T: ToSchema>(mut self, example: Value) -> Self {
        self.body = Some((Shape::One(T::name().into_owned()), Required::True, Some(example)));
        self
    }

    /// A body that may be left out.
    pub(super) fn may_take<T: ToSchema>(mut self, example: Value) -> Self {
        self.body = Some((Shape::One(T::name().into_owned()), Required::False, Some(example)));
        self
    }

    /// An answer with a body.
    pub(super) fn gives<T: ToSchema>(self, status: u16, about: &'static str) -> Self {
        self.answer(status, about, Some(Shape::One(T::name().into_owned())))
    }

    /// An answer that is a bare array of them.
    pub(super) fn lists<T: ToSchema>(mut self, about: &'static str) -> Self {
        self = self.answer(200, about, Some(Shape::List(T::name().into_owned())));
        if let Some(answer) = self.answers.last_mut() {
            answer.is_list = true;
        }
        self
    }

    /// An answer that is a text of this media type.
    pub(super) fn gives_text(mut self, status: u16, media_type: &'static str, about: &'static str) -> Self {
        self = self.answer(status, about, Some(Shape::Text));
        if let Some(answer) = self.answers.last_mut() {
            answer.media_type = media_type;
        }
        self
    }

    /// 204.
    pub(super) fn gives_nothing(self, about: &'static str) -> Self {
        self.answer(204, about, None)
    }

    /// An example of the answer described last.
    pub(super) fn example(mut self, example: Value) -> Self {
        if let Some(answer) = self.answers.last_mut() {
            answer.example = Some(example);
        }
        self
    }

    /// A refusal with a sentence.
    pub(super) fn refuses(self, status: u16, about: &'static str) -> Self {
        self.gives::<Detail>(status, about)
    }

    /// 400 with messages by field.
    pub(super) fn checks_fields(self) -> Self {
        let example = json!({ "field": ["This field is required."] });
        self.gives::<FieldErrors>(400, "The request is wrong: messages by field, or a `detail`")
            .example(example)
    }

    fn answer(mut self, status: u16, about: &'static str, shape: Option<Shape>) -> Self {
        self.answers.push(Answer::new(status, about, shape));
        self
    }

    /// The operation, with what follows from who may call.
    pub(super) fn operation(&self, access: Access) -> Operation {
        let mut operation = OperationBuilder::new()
            .tag(self.tag)
            .operation_id(Some(self.id))
            .summary(Some(self.summary))
            .description(self.about)
            .securities(Some(security(access)));
        for segment in self.path.split('/').filter_map(|segment| segment.strip_prefix('{')) {
            operation = operation.parameter(path_parameter(segment.trim_end_matches('}')));
        }
        for parameter in &self.parameters {
            operation = operation.parameter(parameter.clone());
        }
        if let Some((shape, required, example)) = &self.body {
            let content = ContentBuilder::new().schema(Some(shape.schema())).example(example.clone()).build();
            let form = ContentBuilder::new().schema(Some(shape.schema())).build();
            let mut body = RequestBodyBuilder::new().required(Some(required.clone()));
            body = body.content("application/json", content);
            if self.tag != "activity" {
                body = body.content("application/x-www-form-urlencoded", form);
            }
            operation = operation.request_body(Some(body.build()));
        }
        for answer in &self.answers {
            operation = operation.response(answer.status.to_string(), answer.response());
        }
        for answer in self.implied(access) {
            operation = operation.response(answer.status.to_string(), answer.response());
        }
        operation.build()
    }

    /// Refusals that nobody needs to write down, as far as none is described for that status.
    fn implied(&self, access: Access) -> Vec<Answer> {
        let mut implied = Vec::new();
        if matches!(access, Access::User | Access::Admin) {
            implied.push((401, "No token, or one that is not valid"));
            implied.push((429, "The caller has made too many requests (`auth.request_rate`)"));
        }
        if access == Access::Admin {
            implied.push((403, "The caller is no admin"));
        }
        if self.path.contains('{') {
            implied.push((404, "There is no such record, or it is another owner's"));
        }
        if matches!(access, Access::User | Access::Admin | Access::Anyone) {
            implied.push((406, "The caller does not accept JSON"));
        }
        if self.body.is_some() {
            implied.push((408, "The body did not arrive within 30 seconds"));
            implied.push((413, "The body is larger than `server.max_body`"));
            if self.tag != "activity" {
                implied.push((415, "The body is neither JSON nor a form"));
            }
        }
        if !matches!(access, Access::Operator | Access::Browser) {
            implied.push((503, "The hub cannot answer now; come back after `Retry-After`"));
        }
        implied.retain(|(status, _)| self.answers.iter().all(|answer| answer.status != *status));
        implied.into_iter().map(|(status, about)| Answer::refusal(status, about)).collect()
    }
}

impl Answer {
    fn new(status: u16, about: &'static str, shape: Option<Shape>) -> Self {
        Self { status, about, media_type: "application/json", shape, example: None, is_list: false }
    }

    fn refusal(status: u16, about: &'static str) -> Self {
        Self::new(status, about, Some(Shape::One(Detail::name().into_owned())))
    }

    fn response(&self) -> Response {
        let mut response = ResponseBuilder::new().description(self.about);
        if let Some(shape) = &self.shape {
            let content = ContentBuilder::new().schema(Some(shape.schema())).example(self.example.clone());
            response = response.content(self.media_type, content.build());
        }
        if self.is_list {
            response = response
                .header("X-Total-Count", header_of(Type::Integer, "How many there are on all pages"))
                .header("Link", header_of(Type::String, "Where the neighbouring pages are"));
        }
        if matches!(self.status, 429 | 503) {
            let about = "After how many seconds to come back";
            response = response.header("Retry-After", header_of(Type::Integer, about));
        }
        response.build()
    }
}

fn security(access: Access) -> Vec<SecurityRequirement> {
    match access {
        Access::User | Access::Admin => vec![SecurityRequirement::new(TOKEN, Vec::<String>::new())],
        Access::Anyone | Access::Browser | Access::Operator => Vec::new(),
    }
}

fn path_parameter(name: &str) -> Parameter {
    let id = ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::Custom("uuid".to_owned())))
        .build();
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some("The id of the record"))
        .schema(Some(id))
        .build()
}

fn header_of(kind: Type, about: &str) -> Header {
    let schema = ObjectBuilder::new().schema_type(kind).build();
    HeaderBuilder::new().schema(Some(schema)).description(Some(about)).build()
}

fn text() -> Schema {
    Schema::Object(ObjectBuilder::new().schema_type(Type::String).build())
}

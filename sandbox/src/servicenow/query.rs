//! Encoded queries: `active=true^contact_type=social^ORpriority=1^ORDERBYDESCsys_created_on`.
//!
//! Source: ServiceNow documentation, Table API, `sysparm_query`. As documented, a part that is not understood
//! or names an unknown field is dropped without a word and the rest runs.

/// What a condition asks of a value. Comparisons ignore case, as the databases behind ServiceNow do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Is,
    IsNot,
    Like,
    NotLike,
    StartsWith,
    EndsWith,
    In,
    NotIn,
    IsEmpty,
    IsNotEmpty,
    Less,
    LessOrSame,
    Greater,
    GreaterOrSame,
    Between,
}

/// Longer ones first where one begins with another.
const OPERATORS: [(&str, Operator); 17] = [
    ("!=", Operator::IsNot),
    ("<=", Operator::LessOrSame),
    (">=", Operator::GreaterOrSame),
    ("=", Operator::Is),
    ("<", Operator::Less),
    (">", Operator::Greater),
    ("NOT LIKE", Operator::NotLike),
    ("NOTLIKE", Operator::NotLike),
    ("NOT IN", Operator::NotIn),
    ("LIKE", Operator::Like),
    ("CONTAINS", Operator::Like),
    ("STARTSWITH", Operator::StartsWith),
    ("ENDSWITH", Operator::EndsWith),
    ("ISNOTEMPTY", Operator::IsNotEmpty),
    ("ISEMPTY", Operator::IsEmpty),
    ("BETWEEN", Operator::Between),
    ("IN", Operator::In),
];

/// One comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Condition {
    pub(crate) field: String,
    pub(crate) operator: Operator,
    pub(crate) value: String,
}

/// One sort key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) field: String,
    pub(crate) descending: bool,
}

/// Any group; in a group all clauses; in a clause any condition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) groups: Vec<Vec<Vec<Condition>>>,
    pub(crate) orders: Vec<Order>,
    /// How many parts were not understood or named an unknown field.
    pub(crate) n_dropped: usize,
}

/// Reads an encoded query; `knows` says which fields the table has.
pub(crate) fn parse(text: &str, knows: impl Fn(&str) -> bool) -> Query {
    let mut query = Query::default();
    let mut group: Vec<Vec<Condition>> = Vec::new();
    // Whether the condition before an `^OR` was dropped: the alternative then stands alone.
    let mut clause_is_open = false;
    for part in text.split('^').filter(|part| !part.is_empty() && *part != "EQ") {
        if let Some(field) = part.strip_prefix("ORDERBYDESC") {
            push_order(&mut query, field, true, &knows);
            continue;
        }
        if let Some(field) = part.strip_prefix("ORDERBY") {
            push_order(&mut query, field, false, &knows);
            continue;
        }
        let (part, is_alternative) = match part.strip_prefix("OR") {
            Some(rest) => (rest, true),
            None => (part, false),
        };
        let part = match part.strip_prefix("NQ") {
            Some(rest) => {
                query.groups.push(std::mem::take(&mut group));
                clause_is_open = false;
                rest
            }
            None => part,
        };
        let condition = condition(part).filter(|condition| knows(&condition.field));
        let Some(condition) = condition else {
            query.n_dropped += 1;
            clause_is_open &= is_alternative;
            continue;
        };
        match group.last_mut() {
            Some(clause) if is_alternative && clause_is_open => clause.push(condition),
            _ => group.push(vec![condition]),
        }
        clause_is_open = true;
    }
    query.groups.push(group);
    query
}

fn push_order(query: &mut Query, field: &str, descending: bool, knows: &impl Fn(&str) -> bool) {
    if knows(field) {
        query.orders.push(Order { field: field.to_owned(), descending });
    } else {
        query.n_dropped += 1;
    }
}

/// Field names are lower-case, operators are not letters or upper-case.
fn condition(part: &str) -> Option<Condition> {
    let is_field = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '.';
    let (field, rest) = part.split_at(part.find(|c| !is_field(c))?);
    if field.is_empty() {
        return None;
    }
    let (name, operator) = OPERATORS.iter().find(|(name, _)| rest.starts_with(name))?;
    let value = rest[name.len()..].to_owned();
    Some(Condition { field: field.to_owned(), operator: *operator, value })
}

impl Condition {
    pub(crate) fn holds_for(&self, actual: &str) -> bool {
        let actual = actual.to_lowercase();
        let wanted = self.value.to_lowercase();
        let is_listed = || wanted.split(',').any(|item| item.trim() == actual);
        match self.operator {
            Operator::Is => actual == wanted,
            Operator::IsNot => actual != wanted,
            Operator::Like => actual.contains(&wanted),
            Operator::NotLike => !actual.contains(&wanted),
            Operator::StartsWith => actual.starts_with(&wanted),
            Operator::EndsWith => actual.ends_with(&wanted),
            Operator::In => is_listed(),
            Operator::NotIn => !is_listed(),
            Operator::IsEmpty => actual.is_empty(),
            Operator::IsNotEmpty => !actual.is_empty(),
            Operator::Less => order(&actual, &wanted).is_lt(),
            Operator::LessOrSame => order(&actual, &wanted).is_le(),
            Operator::Greater => order(&actual, &wanted).is_gt(),
            Operator::GreaterOrSame => order(&actual, &wanted).is_ge(),
            Operator::Between => {
                let (from, to) = wanted.split_once('@').unwrap_or((&wanted, &wanted));
                order(&actual, from).is_ge() && order(&actual, to).is_le()
            }
        }
    }

    /// The values that this condition looks up, if it does nothing but look up.
    pub(crate) fn looked_up(&self) -> Option<Vec<&str>> {
        match self.operator {
            Operator::Is if !self.value.is_empty() => Some(vec![&self.value]),
            Operator::In => Some(self.value.split(',').map(str::trim).collect()),
            _ => None,
        }
    }
}

/// Numbers by value, everything else (times too) as text.
pub(crate) fn order(one: &str, other: &str) -> std::cmp::Ordering {
    match (one.parse::<i64>(), other.parse::<i64>()) {
        (Ok(one), Ok(other)) => one.cmp(&other),
        _ => one.cmp(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: [&str; 6] =
        ["active", "contact_type", "priority", "number", "consumer.name", "sys_created_on"];

    fn parsed(text: &str) -> Query {
        parse(text, |field| FIELDS.contains(&field))
    }

    /// Writes a query down: groups with `|`, clauses with `&`, alternatives with `/`.
    fn written(query: &Query) -> String {
        let condition = |c: &Condition| format!("{} {:?} {}", c.field, c.operator, c.value).trim().to_owned();
        let clause = |c: &Vec<Condition>| c.iter().map(condition).collect::<Vec<_>>().join(" / ");
        let group = |g: &Vec<Vec<Condition>>| g.iter().map(clause).collect::<Vec<_>>().join(" & ");
        query.groups.iter().map(group).collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn reads_the_documented_forms() {
        for (text, expected, n_dropped) in [
            ("", "", 0),
            ("active=true", "active Is true", 0),
            ("active=true^EQ", "active Is true", 0),
            ("active!=true", "active IsNot true", 0),
            ("active=true^priority=1^ORpriority=2", "active Is true & priority Is 1 / priority Is 2", 0),
            ("active=true^NQpriority=1", "active Is true | priority Is 1", 0),
            ("numberSTARTSWITHCS00", "number StartsWith CS00", 0),
            ("numberLIKE0", "number Like 0", 0),
            ("numberNOT LIKE0", "number NotLike 0", 0),
            ("numberINCS1,CS2", "number In CS1,CS2", 0),
            ("numberNOT INCS1,CS2", "number NotIn CS1,CS2", 0),
            ("contact_typeISEMPTY", "contact_type IsEmpty", 0),
            ("contact_typeISNOTEMPTY", "contact_type IsNotEmpty", 0),
            ("priority>=2", "priority GreaterOrSame 2", 0),
            ("sys_created_onBETWEEN2026-01-01@2026-02-01", "sys_created_on Between 2026-01-01@2026-02-01", 0),
            ("consumer.name=Dana", "consumer.name Is Dana", 0),
            ("nonsense=1^active=true", "active Is true", 1),
            ("nonsense=1", "", 1),
            ("nonsense=1^ORactive=true", "active Is true", 1),
            ("active=true^ORnonsense=1^ORpriority=1", "active Is true / priority Is 1", 1),
            ("number=a=b", "number Is a=b", 0),
            ("=1", "", 1),
            ("active", "", 1),
        ] {
            let query = parsed(text);
            assert_eq!(written(&query), expected, "{text}");
            assert_eq!(query.n_dropped, n_dropped, "{text}");
        }
    }

    #[test]
    fn reads_the_order() {
        let query = parsed("active=true^ORDERBYDESCsys_created_on^ORDERBYnumber^ORDERBYnonsense");
        let orders: Vec<_> =
            query.orders.iter().map(|order| (order.field.as_str(), order.descending)).collect();
        assert_eq!(orders, [("sys_created_on", true), ("number", false)]);
        assert_eq!(query.n_dropped, 1);
        assert_eq!(written(&query), "active Is true");
    }

    #[test]
    fn compares() {
        for (text, actual, expected) in [
            ("number=cs1", "CS1", true),
            ("number!=CS1", "CS1", false),
            ("numberLIKEs1", "CS10", true),
            ("numberSTARTSWITHcs", "CS10", true),
            ("numberENDSWITH1", "CS10", false),
            ("numberINCS1, CS10", "CS10", true),
            ("numberNOT INCS1,CS10", "CS10", false),
            ("numberISEMPTY", "", true),
            ("numberISNOTEMPTY", "", false),
            ("priority>9", "10", true),
            ("priority<9", "10", false),
            ("sys_created_on>2026-01-01 00:00:00", "2026-01-01 00:00:01", true),
            ("priorityBETWEEN1@3", "2", true),
            ("priorityBETWEEN1@3", "4", false),
        ] {
            let query = parsed(text);
            assert_eq!(query.groups[0][0][0].holds_for(actual), expected, "{text} with {actual}");
        }
    }
}

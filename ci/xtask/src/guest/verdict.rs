//! The outcome of one check, and its form in a results file.

use anyhow::Result;

/// The outcome of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The check's name.
    pub check: String,
    /// What was found, or what went wrong.
    pub result: Result<String, String>,
}

impl Verdict {
    /// Names an outcome.
    pub fn of(check: &str, result: Result<String>) -> Self {
        Self {
            check: check.to_owned(),
            result: result.map_err(|error| format!("{error:#}")),
        }
    }

    /// One line of a results file.
    pub fn to_line(&self) -> String {
        let (word, detail) = match &self.result {
            Ok(detail) => ("pass", detail),
            Err(detail) => ("fail", detail),
        };
        format!(
            "{word}\t{}\t{}\n",
            self.check,
            detail.replace(['\n', '\t'], " ")
        )
    }

    /// The reverse of [`Verdict::to_line`].
    pub fn from_line(line: &str) -> Option<Self> {
        let mut fields = line.splitn(3, '\t');
        let (word, check, detail) = (fields.next()?, fields.next()?, fields.next()?.to_owned());
        let result = if word == "pass" {
            Ok(detail)
        } else {
            Err(detail)
        };
        Some(Self {
            check: check.to_owned(),
            result,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Verdict;

    #[test]
    fn verdict_lines_come_back_as_they_were() {
        let verdicts = [
            Verdict {
                check: "a".into(),
                result: Ok("fine".into()),
            },
            Verdict {
                check: "b".into(),
                result: Err("not fine".into()),
            },
        ];
        for verdict in verdicts {
            assert_eq!(
                Verdict::from_line(verdict.to_line().trim_end()),
                Some(verdict)
            );
        }
        assert_eq!(Verdict::from_line("pass"), None);
    }
}

//! How often and at what pace a command without a daemon asks again, by MLflow's own variables.
//!
//! Pure: variables and chance come in, and whoever asks waits.

use std::time::Duration;

use super::StoreError;
use super::variable::{VariableError, truth};

/// The limits of MLflow 3.17.2 (`_MLFLOW_HTTP_REQUEST_MAX_RETRIES_LIMIT`, `…_MAX_BACKOFF_FACTOR_LIMIT`).
const RETRIES_LIMIT: u32 = 10;
const BACKOFF_FACTOR_LIMIT: u32 = 120;
/// The longest pause (urllib3 2, `Retry.DEFAULT_BACKOFF_MAX`).
const PAUSE_MAX: Duration = Duration::from_mins(2);

/// How a request that may succeed later is repeated.
#[derive(Debug, Clone, PartialEq)]
pub struct Retries {
    most: u32,
    factor: u32,
    jitter: f64,
    heeds_server: bool,
}

impl Retries {
    /// Reads `MLFLOW_HTTP_REQUEST_MAX_RETRIES` (7), `_BACKOFF_FACTOR` (2), `_BACKOFF_JITTER` (1.0 s) and
    /// `MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER` (true) with MLflow 3.17.2's defaults and limits.
    ///
    /// # Errors
    /// [`VariableError`] for a value that MLflow refuses too.
    pub fn new(var: impl Fn(&str) -> Option<String>) -> Result<Self, VariableError> {
        let value = |name: &str| var(name).filter(|value| !value.is_empty());
        let number =
            |variable: &'static str, default: u32, limit: u32, wanted: &'static str| match value(
                variable,
            ) {
                None => Ok(default),
                Some(text) => match text.trim().parse() {
                    Ok(number) if number <= limit => Ok(number),
                    _ => Err(VariableError {
                        variable,
                        value: text,
                        wanted,
                    }),
                },
            };
        let jitter = value("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER");
        let jitter = match jitter.as_ref().map(|text| text.trim().parse::<f64>()) {
            None => 1.0,
            Some(Ok(seconds)) if (0.0..=120.0).contains(&seconds) => seconds,
            Some(_) => {
                return Err(VariableError {
                    variable: "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER",
                    value: jitter.unwrap_or_default(),
                    wanted: "a number of seconds from 0 to 120",
                });
            }
        };
        Ok(Self {
            most: number(
                "MLFLOW_HTTP_REQUEST_MAX_RETRIES",
                7,
                RETRIES_LIMIT,
                "a number from 0 to 10",
            )?,
            factor: number(
                "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR",
                2,
                BACKOFF_FACTOR_LIMIT,
                "a number from 0 to 120",
            )?,
            jitter,
            heeds_server: truth(
                "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER",
                value("MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER"),
            )?
            .unwrap_or(true),
        })
    }

    /// Returns the pause before the next try, `None` when there shall be none: `failed` tries were made, `chance` is
    /// from 0 to 1.
    pub fn pause(&self, error: &StoreError, failed: u32, chance: f64) -> Option<Duration> {
        if !error.is_transient() || failed > self.most {
            return None;
        }
        if let Some(asked) = error.retry_after().filter(|_| self.heeds_server) {
            return Some(asked);
        }
        // urllib3 2 begins with the second try: the first repetition waits for the jitter alone.
        let steps = match failed {
            0 | 1 => 0,
            more => self.factor.saturating_mul(1 << (more - 1).min(16)),
        };
        let jitter = Duration::from_secs_f64(self.jitter * chance.clamp(0.0, 1.0));
        Some((Duration::from_secs(u64::from(steps)) + jitter).min(PAUSE_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn busy(retry_after: Option<u64>) -> StoreError {
        StoreError::Server {
            status: 429,
            message: String::new(),
            retry_after: retry_after.map(Duration::from_secs),
        }
    }

    #[test]
    fn pauses_are_those_of_mlflows_client() {
        let retries = Retries::new(|_| None).unwrap();
        let pauses: Vec<_> = (1..=8)
            .map(|failed| {
                retries
                    .pause(&busy(None), failed, 0.5)
                    .map(|pause| pause.as_millis())
            })
            .collect();
        let expected = [500, 4_500, 8_500, 16_500, 32_500, 64_500, 120_000].map(Some);
        assert_eq!(pauses[..7], expected);
        assert_eq!(pauses[7], None);
        assert_eq!(
            retries.pause(&busy(Some(7)), 1, 0.5),
            Some(Duration::from_secs(7))
        );
        let refused = StoreError::Refused {
            status: 401,
            message: String::new(),
        };
        assert_eq!(retries.pause(&refused, 1, 0.5), None);
    }

    #[test]
    fn values_that_mlflow_refuses_are_refused() {
        for (variable, value) in [
            ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "11"),
            ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "many"),
            ("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "121"),
            ("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "NaN"),
            ("MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER", "yes"),
        ] {
            let error =
                Retries::new(|name| (name == variable).then(|| value.to_owned())).unwrap_err();
            assert_eq!((error.variable, error.value.as_str()), (variable, value));
        }
    }
}

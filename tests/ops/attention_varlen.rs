crate::cases!("attention_varlen");

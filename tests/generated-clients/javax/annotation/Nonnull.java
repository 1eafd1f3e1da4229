package javax.annotation;

/** What generated clients are marked with; Java itself no longer comes with it. */
public @interface Nonnull {
    String value() default "";

    String comments() default "";
}
